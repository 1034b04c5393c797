package load

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"coditect.ai/platform/app/contract"
)

// The operations in the order in which a life meets them.
const (
	opRegister = iota
	opLogin
	opCreate
	opGet
	opList
	opRefresh
	opDelete
	opLogout
	opSignedOut
	opLife // a whole life that was lived to its end; not a request
	operations
)

// operationNames are those of reports and thresholds.
var operationNames = [operations]string{
	"register", "login", "session-create", "session-get", "session-list",
	"refresh", "session-delete", "logout", "signed-out", "life",
}

// Kinds of failures that are not the service's codes.
const (
	failTimeout   = "timeout"           // no answer within the request's time
	failNetwork   = "network"           // the connection failed
	failForm      = "not_in_our_form"   // the answer is not the service's envelope
	failContent   = "wrong_content"     // a success that does not say what it must
	failUnstarted = "no_user_was_free"  // due in an open loop, and never begun
	failStatus    = "unexpected_status" // without a code, or a success where a refusal was due
)

// life is one user's, under way.
type life struct {
	s      *stage
	ctx    context.Context //nolint:containedctx // a life is one call of live and ends with it
	due    time.Time       // of the next operation
	pause  time.Duration   // that the service asked for when it refused
	access string
}

// live lives one life that was due at a time: every operation a user has, each
// with a look at whether the answer is right. It returns the pause that the
// service asked for, 0 when it did not.
func (s *stage) live(ctx context.Context, due time.Time) time.Duration {
	l := &life{s: s, ctx: ctx, due: due}
	if l.all() {
		s.record.add(opLife, time.Since(due), "", "")
		s.lives.Add(1)
	}
	return l.pause
}

// tokens are those of an answer.
type tokens struct {
	Tokens struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	} `json:"tokens"`
}

func (t tokens) there() bool { return t.Tokens.AccessToken != "" && t.Tokens.RefreshToken != "" }

type workspace struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// all returns false when the life ended early: an operation failed, or the time is over.
func (l *life) all() bool {
	email, password := l.s.names.email(), rand.Text()
	var in tokens
	if !call(l, opRegister, http.MethodPost, "/auth/register", map[string]string{
		"email": email, "password": password, "first_name": "Load", "last_name": "Test", "company": "", "device": "load",
	}, &in, func() bool { return in.there() }) {
		return false
	}
	if !call(l, opLogin, http.MethodPost, "/auth/login", map[string]string{
		"email": email, "password": password, "device": "load",
	}, &in, func() bool { return in.there() }) {
		return false
	}
	l.access = in.Tokens.AccessToken

	ids := make([]string, 0, l.s.cfg.Sessions)
	for i := range l.s.cfg.Sessions {
		var made workspace
		name := "workspace " + strconv.Itoa(i+1)
		if !call(l, opCreate, http.MethodPost, "/sessions", map[string]string{"name": name, "workspace_path": "/home/load"}, &made,
			func() bool { return made.ID != "" && made.Name == name }) {
			return false
		}
		ids = append(ids, made.ID)
	}
	for _, id := range ids {
		var got workspace
		if !call(l, opGet, http.MethodGet, "/sessions/"+url.PathEscape(id), nil, &got, func() bool { return got.ID == id }) {
			return false
		}
	}
	var list []workspace
	if !call(l, opList, http.MethodGet, "/sessions?limit=200", nil, &list, func() bool { return sameIDs(list, ids) }) {
		return false
	}
	spent := in.Tokens.RefreshToken
	if !call(l, opRefresh, http.MethodPost, "/auth/refresh", map[string]string{"refresh_token": spent}, &in,
		func() bool { return in.there() && in.Tokens.RefreshToken != spent }) {
		return false
	}
	l.access = in.Tokens.AccessToken
	for _, id := range ids {
		var gone struct {
			Deleted bool `json:"deleted"`
		}
		if !call(l, opDelete, http.MethodDelete, "/sessions/"+url.PathEscape(id), nil, &gone, func() bool { return gone.Deleted }) {
			return false
		}
	}
	var out struct{}
	return call(l, opLogout, http.MethodPost, "/auth/logout", map[string]bool{"everywhere": true}, &out, func() bool { return true }) &&
		call(l, opSignedOut, http.MethodGet, "/sessions", nil, &out, nil)
}

// sameIDs tells whether list has exactly the ids, which were made in their order, newest first.
func sameIDs(list []workspace, ids []string) bool {
	if len(list) != len(ids) {
		return false
	}
	for i, w := range list {
		if w.ID != ids[len(ids)-1-i] {
			return false
		}
	}
	return true
}

// call does one operation and records it. right looks at the decoded data; nil
// means that the operation must be refused with 401. It returns false when the
// life cannot go on.
func call[T any](l *life, op int, method, path string, body any, into *T, right func() bool) bool {
	if l.ctx.Err() != nil || (op != opRegister && !time.Now().Before(l.s.end)) {
		return false
	}
	begin := l.due // an operation is due when the one before it is answered
	if op != opRegister {
		begin = time.Now()
	}
	token := l.access
	if op == opRegister || op == opLogin || op == opRefresh {
		token = ""
	}
	a, err := l.s.client.do(l.ctx, method, path, token, body)
	if l.ctx.Err() != nil {
		return false // cut off, which says nothing about the service
	}
	took := time.Since(begin)
	fail := failureOf(a, err, right == nil)
	if fail == "" && right != nil {
		var zero T
		*into = zero
		if json.Unmarshal(a.Data, into) != nil || !right() {
			fail = failContent
		}
	}
	l.s.record.add(op, took, fail, a.header.Get(contract.HeaderVersion))
	l.pause = a.retryAfter
	return fail == ""
}

// failureOf names what is wrong with an answer, "" when nothing is.
func failureOf(a answer, err error, refused bool) string {
	timeout, isTimeout := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	switch {
	case errors.Is(err, errNotOurs):
		return failForm
	case isTimeout && timeout.Timeout():
		return failTimeout
	case err != nil:
		return failNetwork
	case refused && a.status == http.StatusUnauthorized, !refused && a.Success && a.status < 300:
		return ""
	case a.Error.Code != "":
		return a.Error.Code
	default:
		return failStatus
	}
}
