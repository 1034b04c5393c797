package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"coditect.ai/platform/app/internal/fault"
)

// Success is the envelope of every answer that is not a failure.
type Success[T any] struct {
	Success bool  `json:"success"`
	Data    T     `json:"data"`
	Page    *Page `json:"page,omitempty"` // of lists
}

// Page tells how a list goes on.
type Page struct {
	NextCursor *string `json:"next_cursor"` // null after the last page
}

// Failure is the envelope of every failure.
type Failure struct {
	Success   bool         `json:"success"`
	Error     FailureError `json:"error"`
	RequestID string       `json:"request_id"`
}

// FailureError is what went wrong, for the client.
type FailureError struct {
	Code    fault.Code    `json:"code"`
	Message string        `json:"message"`
	Fields  []fault.Field `json:"fields,omitempty"`
}

var (
	errNoRoute     = fault.New(fault.NotFound, "There is nothing at this path.")
	errNoThing     = fault.New(fault.NotFound, "There is no such thing, or it is not yours.")
	errMethod      = fault.New(fault.MethodNotAllowed, "This path does not take this method; Allow names those it takes.")
	errInternal    = fault.New(fault.Internal, "Something went wrong on our side; tell us the request id if it persists.")
	errSlow        = &fault.Error{Code: fault.Unavailable, Message: "The service did not finish in time; try again.", RetryAfter: time.Second}
	errNotOpen     = &fault.Error{Code: fault.Unavailable, Message: "The store is not open yet; try again shortly.", RetryAfter: time.Second}
	errDraining    = &fault.Error{Code: fault.Unavailable, Message: "This process is shutting down.", RetryAfter: time.Second}
	errUnreachable = &fault.Error{Code: fault.Unavailable, Message: "The store does not answer in time.", RetryAfter: time.Second}
)

// statusOf is the one place that gives a code its HTTP status.
func statusOf(code fault.Code) int {
	switch code {
	case fault.InvalidRequest, fault.ValidationFailed, fault.InvalidChallenge, fault.InvalidMailedToken:
		return http.StatusBadRequest
	case fault.InvalidCredentials, fault.InvalidToken, fault.StepUpRequired, fault.InvalidFactor:
		return http.StatusUnauthorized
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case fault.EmailTaken, fault.FactorExists, fault.LastOwner, fault.SelfTenant, fault.AlreadyMember,
		fault.LimitReached, fault.IdempotencyConflict:
		return http.StatusConflict
	case fault.BodyTooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.UnsupportedMediaType:
		return http.StatusUnsupportedMediaType
	case fault.TooManyAttempts:
		return http.StatusTooManyRequests
	case fault.Busy, fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.Internal:
		return http.StatusInternalServerError
	default:
		return http.StatusInternalServerError
	}
}

// faultOf returns the fault in err's chain. An error without one is our own
// failing, unless the request's time was over or its work was called off.
func faultOf(err error) *fault.Error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return errSlow
	}
	return errInternal
}

// encodeFailure never fails: every part of a failure is plain text.
func encodeFailure(f *fault.Error, requestID string) []byte {
	body, err := json.Marshal(Failure{
		Error:     FailureError{Code: f.Code, Message: f.Message, Fields: f.Fields},
		RequestID: requestID,
	})
	if err != nil {
		return []byte(`{"success":false,"error":{"code":"internal","message":"` + errInternal.Message + `"},"request_id":"` + requestID + `"}`)
	}
	return body
}
