// Package metrics asks Prometheus how the service's slots do: over its HTTP API,
// which Managed Service for Prometheus has too.
//
// What is not known is never told as zero: where the numbers could be wrong the
// answer is [ErrNoData], and what to make of that is the asker's business.
package metrics
