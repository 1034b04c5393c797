// Package kube holds the Kubernetes objects of every environment's golden plan
// against a real API server. It holds tests alone; `make e2e` runs them.
package kube
