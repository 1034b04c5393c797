// Package fdbdouble asks faults of the test double of FoundationDB's C client.
// README.md tells what that is and is not. It has code only in builds with the
// tag fdbdouble, which link the double.
package fdbdouble
