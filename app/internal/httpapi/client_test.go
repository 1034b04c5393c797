package httpapi

import (
	"net/http"
	"testing"
	"time"

	"coditect.ai/platform/app/internal/fault"
)

func TestClientAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		proxies   int
		forwarded []string
		want      string
	}{
		{0, []string{"1.2.3.4"}, "10.0.0.9"},
		{1, nil, "10.0.0.9"},
		{1, []string{"1.2.3.4"}, "1.2.3.4"},
		{1, []string{"6.6.6.6, 1.2.3.4"}, "1.2.3.4"}, // the client wrote the first itself
		{2, []string{"6.6.6.6, 1.2.3.4", "10.0.0.2"}, "1.2.3.4"},
		{2, []string{"1.2.3.4"}, "10.0.0.9"}, // has not come through both
		{1, []string{"nonsense"}, "10.0.0.9"},
		{1, []string{""}, "10.0.0.9"},
		{1, []string{"::ffff:1.2.3.4"}, "1.2.3.4"},
		{1, []string{"2001:db8::1"}, "2001:db8::1"},
	} {
		r := &http.Request{RemoteAddr: "10.0.0.9:1234", Header: http.Header{}}
		if tt.forwarded != nil {
			r.Header["X-Forwarded-For"] = tt.forwarded
		}
		if got := clientAddress(r, tt.proxies); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

// The statuses that fault documents beside each code.
func TestStatusOfEveryCode(t *testing.T) {
	t.Parallel()
	for code, want := range map[fault.Code]int{
		fault.InvalidRequest: 400, fault.ValidationFailed: 400, fault.InvalidCredentials: 401, fault.InvalidToken: 401,
		fault.NotFound: 404, fault.MethodNotAllowed: 405, fault.EmailTaken: 409, fault.BodyTooLarge: 413,
		fault.UnsupportedMediaType: 415, fault.Internal: 500, fault.Busy: 503, fault.Unavailable: 503, "unheard of": 500,
	} {
		if got := statusOf(code); got != want {
			t.Errorf("%s: %d, want %d", code, got, want)
		}
	}
}

func TestRetryAfterIsRoundedUp(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]string{time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2"} {
		if got := retryAfter(wait); got != want {
			t.Errorf("%v: %s, want %s", wait, got, want)
		}
	}
}
