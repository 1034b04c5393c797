// Package scripts holds the scripts of the backup's and a recovery's pods, as
// the golden plans have them, against stand-ins of FoundationDB's tools: these
// take the arguments that the real ones take and no others, and end as they do.
// It holds tests alone.
package scripts
