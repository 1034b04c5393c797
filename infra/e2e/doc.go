// Package e2e proves whole runs: a copy of the checkout is brought up, used
// through its gateway, hurt, changed and taken down, by the commands that a
// person types. It holds tests alone and imports nothing of the project.
package e2e
