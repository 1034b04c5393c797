// Package telemetry owns what the service tells its operators: structured logs
// in the form that Cloud Logging reads, metrics in Prometheus' form under the
// contract's names, traces by OTLP, and the handler of the internal listener.
//
// Labels and attributes are bounded: routes are templates, never paths, and
// nothing that a client sends becomes a label. It imports the contract and
// nothing else of the project.
package telemetry
