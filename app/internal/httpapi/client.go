package httpapi

import (
	"crypto/rand"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/fault"
)

// requestIDs names requests: the process by a random part, the request by a count.
type requestIDs struct {
	process string
	count   atomic.Uint64
}

func newRequestIDs() *requestIDs { return &requestIDs{process: rand.Text()[:16] + "-"} }

// of returns the caller's id if it is sane, else a new one.
func (ids *requestIDs) of(h http.Header) string {
	if given := h[contract.HeaderRequestID]; len(given) == 1 && sane(given[0]) {
		return given[0]
	}
	return ids.process + strconv.FormatUint(ids.count.Add(1), 36)
}

// sane is what is safe in a header, a log line and a shell.
func sane(id string) bool {
	if len(id) == 0 || len(id) > 128 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// errNoToken stands for a request that does not even try; RFC 6750 wants no error code in its challenge.
var errNoToken = fault.New(fault.InvalidToken, "Sign in and send the access token as Authorization: Bearer.")

// bearer returns the token of an Authorization header.
func bearer(h http.Header) (string, error) {
	given := h["Authorization"]
	if len(given) != 1 {
		return "", errNoToken
	}
	scheme, token, _ := strings.Cut(given[0], " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "bearer") || token == "" || strings.ContainsAny(token, " \t,") {
		return "", errNoToken
	}
	return token, nil
}

// HeaderIdempotencyKey makes a request that comes again the same act.
const HeaderIdempotencyKey = "Idempotency-Key"

// idempotencyKey returns the key of a request, "" where it has none.
func idempotencyKey(h http.Header) (string, error) {
	given := h[HeaderIdempotencyKey]
	if len(given) == 0 {
		return "", nil
	}
	const most = 255
	if len(given) > 1 || given[0] == "" || len(given[0]) > most || strings.ContainsFunc(given[0], func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", malformed(HeaderIdempotencyKey, "must be given once, as 1 to 255 printable ASCII characters without spaces")
	}
	return given[0], nil
}

// challenge is the WWW-Authenticate of a 401, which HTTP demands with each.
func challenge(f *fault.Error) string {
	realm := `Bearer realm="` + contract.ServiceName + `"`
	switch {
	case f.Code == fault.StepUpRequired: // RFC 9470
		return realm + `, error="insufficient_user_authentication", max_age=` + strconv.Itoa(int(auth.RecentFor.Seconds()))
	case f.Code == fault.InvalidToken && f != errNoToken:
		return realm + `, error="invalid_token"`
	}
	return realm
}

// clientAddress is the client's IP address. X-Forwarded-For counts only as far
// as our own proxies have written it: each of them appends the address that it
// was called from, so the client is that many entries from the right.
func clientAddress(r *http.Request, proxies int) string {
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		peer = r.RemoteAddr
	}
	if proxies == 0 {
		return peer
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	if len(hops) < proxies {
		return peer
	}
	addr, err := netip.ParseAddr(strings.TrimSpace(hops[len(hops)-proxies]))
	if err != nil {
		return peer
	}
	return addr.Unmap().WithZone("").String()
}

// cors lets pages of other origins call. There are no cookies, so no answer
// ever allows credentials.
type cors struct {
	origins []string
	any     bool
}

func newCORS(origins []string) cors {
	return cors{origins: origins, any: slices.Contains(origins, "*")}
}

// decorate adds what a browser needs to hand the answer to its page.
func (p cors) decorate(h http.Header, r *http.Request) {
	if len(p.origins) == 0 {
		return
	}
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || (!p.any && !slices.Contains(p.origins, origin)) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", contract.HeaderRequestID+", "+contract.HeaderVersion+", Retry-After")
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, "+HeaderIdempotencyKey+", "+contract.HeaderRequestID)
		h.Set("Access-Control-Max-Age", "600")
	}
}
