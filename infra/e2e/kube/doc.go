// Package kube holds the Kubernetes objects of every environment's golden plan
// against a real control plane, and sends requests through the production plan's
// gateway to processes of the service. It holds tests alone; `make e2e` runs them.
package kube
