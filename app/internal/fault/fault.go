// Package fault owns the failures that a client may see: a closed set of
// codes, each with a sentence for the client and, beside it, the cause for the
// log. Rules create them; httpapi turns a code into a status in one place.
// Any other error that reaches httpapi is answered as Internal.
//
// It imports nothing of the project.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Code is one member of the closed set that the API documents.
type Code string

// The codes. The comment names the HTTP status that httpapi gives each.
const (
	InvalidRequest       Code = "invalid_request"        // 400: the body, a parameter or a header is malformed; Fields say which
	ValidationFailed     Code = "validation_failed"      // 400: well-formed, but a field breaks a rule; Fields say which
	InvalidChallenge     Code = "invalid_challenge"      // 400: what was begun is unknown, done or too old: begin again
	InvalidCredentials   Code = "invalid_credentials"    // 401: email or password is wrong, never which
	InvalidToken         Code = "invalid_token"          // 401: no token, or one that does not verify, is expired or revoked
	StepUpRequired       Code = "step_up_required"       // 401: signed in, but this asks for a fresh proof of who they are
	InvalidFactor        Code = "invalid_factor"         // 401: a second factor is wrong, used up or no longer trusted
	InvalidMailedToken   Code = "invalid_mailed_token"   // 400: a token from a mail that is not, or no longer, good for this
	Forbidden            Code = "forbidden"              // 403: theirs to see, but their role does not allow this
	NotFound             Code = "not_found"              // 404: no such route or thing, or not the caller's
	MethodNotAllowed     Code = "method_not_allowed"     // 405: with Allow
	EmailTaken           Code = "email_taken"            // 409
	FactorExists         Code = "factor_exists"          // 409: there is such a second factor already
	LastOwner            Code = "last_owner"             // 409: a tenant keeps at least one owner
	SelfTenant           Code = "self_tenant"            // 409: a user's own tenant stays, and stays theirs
	AlreadyMember        Code = "already_member"         // 409
	LimitReached         Code = "limit_reached"          // 409: there are as many of these as may be
	IdempotencyConflict  Code = "idempotency_conflict"   // 409: the key came with another request before
	BodyTooLarge         Code = "body_too_large"         // 413
	UnsupportedMediaType Code = "unsupported_media_type" // 415
	TooManyAttempts      Code = "too_many_attempts"      // 429: try again after RetryAfter
	Internal             Code = "internal"               // 500: our fault; the cause is in the log under the request id
	Busy                 Code = "busy"                   // 503: try again after RetryAfter
	Unavailable          Code = "unavailable"            // 503: the store does not answer in time
)

// Field is one problem of one member of a request.
type Field struct {
	Field   string `json:"field"`   // its path in the body, or the name of the parameter or header
	Problem string `json:"problem"` // a clause in plain words: "must be 8 to 128 characters"
}

// Error is a failure that a client may see.
type Error struct {
	Code       Code
	Message    string        // one sentence, with the next step where there is one
	Fields     []Field       // what to mend, for InvalidRequest and ValidationFailed
	RetryAfter time.Duration // 0: none
	Cause      error         // for the log alone; may be nil
}

// New makes an Error without fields or cause.
func New(code Code, message string) *Error { return &Error{Code: code, Message: message} }

// Invalid makes a ValidationFailed that names every field at fault.
func Invalid(fields ...Field) *Error {
	return &Error{Code: ValidationFailed, Message: "Some fields are not valid; see fields.", Fields: fields}
}

// Because returns a copy of e with its cause for the log.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.Cause = cause
	return &c
}

// Error gives the code and the cause: it is for logs, never for clients.
func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %v", e.Code, e.Cause)
	}
	return string(e.Code) + ": " + e.Message
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Cause }

// CodeOf returns the code of the Error in err's chain, and Internal where there is none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}
