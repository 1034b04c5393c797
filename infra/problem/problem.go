// Package problem owns the failures that an operator can mend: errors whose
// text is the whole message, with the next step. It imports nothing of the project.
package problem

import "fmt"

// Error is a failure that the operator can mend.
type Error struct {
	Text string
	Err  error // may be nil
}

func (e *Error) Error() string { return e.Text }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// New is an [Error] with a cause, which may be nil.
func New(cause error, format string, args ...any) error {
	return &Error{Text: fmt.Sprintf(format, args...), Err: cause}
}
