// Package lifecycle proves that the real engine takes each environment in the
// cloud through its life: made, left alone, kept from being destroyed, destroyed.
// The clouds are simulated, and nothing runs in them. It holds tests alone.
package lifecycle
