// Package fdbkv is the engine for production: the kv contract on a FoundationDB
// cluster, through its official Go binding. It is compiled with the build tag
// fdb alone, since the binding needs the C client library; see
// docs/adr/0020-foundationdb-engine.md, and fdbdouble for how it is tested
// where there is no such library.
//
// The process has one client, opened once: its network thread and its
// databases live until it ends. Retries, backoff and conflicts are the
// client's own; what this package adds is the contract's errors, contexts, and
// that whatever becomes of the database neither ends the process nor keeps a
// caller for ever.
package fdbkv
