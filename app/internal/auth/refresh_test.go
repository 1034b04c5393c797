package auth

import (
	"errors"
	"sync"
	"testing"
	"time"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store/storetest"
)

func (e *env) mustRefresh(tb testing.TB, token string) TokenPair {
	tb.Helper()
	pair, err := e.Refresh(tb.Context(), token)
	if err != nil {
		tb.Fatalf("refreshing: %v", err)
	}
	return pair
}

func TestRefreshRotates(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	in := e.mustRegister(t, "ada@example.com")
	before := e.mustVerify(t, in.Tokens)
	e.Clock.Advance(time.Hour)
	_, err := e.Verify(in.Tokens.AccessToken)
	wantCode(t, err, fault.InvalidToken)
	var pair TokenPair
	if cost := e.spent(func() { pair = e.mustRefresh(t, in.Tokens.RefreshToken) }); cost.Transactions != 1 || cost.Reads != 4 {
		t.Errorf("took %+v, want 1 transaction and 4 reads", cost)
	}
	a := e.mustVerify(t, pair)
	if pair.RefreshToken == in.Tokens.RefreshToken || a.LoginID != before.LoginID || a.TokenID == before.TokenID {
		t.Errorf("refreshed to %+v", a)
	}
	if err := e.authorize(t, a); err != nil {
		t.Error(err)
	}
	if got := pair.RefreshExpiresAt.Sub(in.Tokens.RefreshExpiresAt); got != time.Hour {
		t.Errorf("expiry slid by %v, want an hour", got)
	}
}

func TestReplayAfterTheGraceRevokesTheLogin(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	in := e.mustRegister(t, "ada@example.com")
	other := e.mustLogin(t, credentials("ada@example.com"))
	next := e.mustRefresh(t, in.Tokens.RefreshToken)
	e.Clock.Advance(30*time.Second + time.Millisecond)
	_, err := e.Refresh(t.Context(), in.Tokens.RefreshToken)
	wantCode(t, err, fault.InvalidToken)
	if !errors.Is(err, errReplay) {
		t.Errorf("the log is not told of the replay: %v", err)
	}
	wantCode(t, e.authorize(t, e.mustVerify(t, next)), fault.InvalidToken)
	_, err = e.Refresh(t.Context(), next.RefreshToken)
	wantCode(t, err, fault.InvalidToken)
	if err := e.authorize(t, e.mustVerify(t, other.Tokens)); err != nil {
		t.Errorf("the user's other login: %v", err)
	}
}

func TestRacersWithinTheGraceShareOneSuccessor(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	in := e.mustRegister(t, "ada@example.com")
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		seen = map[string]int{}
	)
	for range 100 {
		wg.Go(func() {
			pair, err := e.Refresh(t.Context(), in.Tokens.RefreshToken)
			if err != nil {
				t.Errorf("refreshing: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen[pair.RefreshToken]++
		})
	}
	wg.Wait()
	if len(seen) != 1 {
		t.Fatalf("%d successors, want 1", len(seen))
	}
	if c := e.counts(t); c["refresh_tokens"] != 2 {
		t.Errorf("in the store: %v", c)
	}

	// A straggler comes after others have gone on: it ends with the same token as they.
	var current string
	for current = range seen {
	}
	for range 3 {
		e.Clock.Advance(5 * time.Second)
		current = e.mustRefresh(t, current).RefreshToken
	}
	e.Clock.Advance(15 * time.Second)
	if got := e.mustRefresh(t, in.Tokens.RefreshToken).RefreshToken; got != current {
		t.Error("a straggler within the grace got another token than the current one")
	}
	e.Clock.Advance(time.Hour)
	e.mustRefresh(t, current)
}

func TestRotationsWithinTheGraceAreBounded(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	first := e.mustRegister(t, "ada@example.com").Tokens.RefreshToken
	token := first
	for range maxSpent {
		token = e.mustRefresh(t, token).RefreshToken
	}
	_, err := e.Refresh(t.Context(), token)
	wantCode(t, err, fault.Busy)
	if got := e.mustRefresh(t, first).RefreshToken; got != token {
		t.Error("the first of many does not lead to the current one")
	}
	f, _ := errors.AsType[*fault.Error](err)
	e.Clock.Advance(f.RetryAfter)
	e.mustRefresh(t, token)
}

func TestRefreshSettlesUnknownCommits(t *testing.T) {
	t.Parallel()
	for _, fates := range [][]storetest.Fate{{storetest.Committed}, {storetest.Lost}, {storetest.Lost, storetest.Committed, storetest.Committed}} {
		e := newEnv(t, Config{})
		in := e.mustRegister(t, "ada@example.com")
		e.DB.Unknown(fates...)
		pair := e.mustRefresh(t, in.Tokens.RefreshToken)
		if c := e.counts(t); c["refresh_tokens"] != 2 {
			t.Errorf("%v: in the store: %v", fates, c)
		}
		e.Clock.Advance(time.Minute)
		e.mustRefresh(t, pair.RefreshToken)

		e.DB.Unknown(fates...) // the revocation by a replay too
		_, err := e.Refresh(t.Context(), in.Tokens.RefreshToken)
		wantCode(t, err, fault.InvalidToken)
		if c := e.counts(t); c["logins"] != 0 {
			t.Errorf("%v: in the store: %v", fates, c)
		}
	}
}

func TestLoginEndsHoweverOftenItIsRefreshed(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	in := e.mustRegister(t, "ada@example.com")
	start := e.Clock.Now()
	pair := in.Tokens
	for e.Clock.Now().Before(start.Add(80 * 24 * time.Hour)) {
		e.Clock.Advance(20 * 24 * time.Hour)
		pair = e.mustRefresh(t, pair.RefreshToken)
	}
	if got := pair.RefreshExpiresAt.Sub(start.Truncate(time.Millisecond)); got != 90*24*time.Hour {
		t.Errorf("expires %v after the login, want 90 days", got)
	}
	e.Clock.Advance(10 * 24 * time.Hour)
	_, err := e.Refresh(t.Context(), pair.RefreshToken)
	wantCode(t, err, fault.InvalidToken)

	idle := e.mustLogin(t, credentials("ada@example.com"))
	e.Clock.Advance(30 * 24 * time.Hour)
	_, err = e.Refresh(t.Context(), idle.Tokens.RefreshToken)
	wantCode(t, err, fault.InvalidToken)
}

func TestRefreshTokensThatAreNone(t *testing.T) {
	t.Parallel()
	e := newEnv(t, Config{})
	good := e.mustRegister(t, "ada@example.com").Tokens
	for _, bad := range []string{
		"", refreshPrefix, good.AccessToken, good.RefreshToken[4:], good.RefreshToken + "A", good.RefreshToken[:46],
		good.RefreshToken[:10] + "\n" + good.RefreshToken[10:], " " + good.RefreshToken, newRefreshToken().text(),
	} {
		_, err := e.Refresh(t.Context(), bad)
		wantCode(t, err, fault.InvalidToken)
	}
}

func FuzzParseRefreshToken(f *testing.F) {
	f.Add(newRefreshToken().text())
	f.Add(refreshPrefix)
	f.Fuzz(func(t *testing.T, s string) {
		if token, err := parseRefreshToken(s); err == nil && token.text() != s {
			t.Fatalf("%q comes back as %q", s, token.text())
		}
	})
}
