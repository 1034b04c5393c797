package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
)

// refreshToken is 256 bits that a client keeps. The store has only its hash.
type refreshToken [32]byte

// refreshPrefix makes a token that leaked recognizable, for people and for scanners.
const refreshPrefix = "cdr_"

func newRefreshToken() refreshToken { return refreshToken(random(len(refreshToken{}))) }

func (t refreshToken) text() string {
	return refreshPrefix + base64.RawURLEncoding.EncodeToString(t[:])
}

func (t refreshToken) hash() store.TokenHash { return sha256.Sum256(t[:]) }

// successor is the token that takes t's place: only who has both t and the
// salt can tell it, and the store has only the salt.
func (t refreshToken) successor(salt []byte) refreshToken {
	mac := hmac.New(sha256.New, salt)
	mac.Write(t[:])
	return refreshToken(mac.Sum(nil))
}

func parseRefreshToken(text string) (refreshToken, error) {
	body, ok := strings.CutPrefix(text, refreshPrefix)
	if !ok || len(body) != base64.RawURLEncoding.EncodedLen(len(refreshToken{})) || strings.ContainsAny(body, "\r\n") {
		return refreshToken{}, errors.New("not the form of a refresh token")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil {
		return refreshToken{}, fmt.Errorf("decoding a refresh token: %w", err)
	}
	return refreshToken(b), nil
}

// maxSpent bounds the tokens that one login may spend within the grace.
const maxSpent = 16

var (
	errRefresh = fault.New(fault.InvalidToken, "The refresh token is not valid or has expired; sign in again.")
	errReplay  = errors.New("a spent refresh token came back after its grace: its login is revoked")
)

// Refresh rotates a refresh token: it answers with the token that takes its
// place and a new access token.
//
// A spent token that comes back within the grace leads to the login's current
// token, over as many rotations as there were since, so that all who race end
// with the same one and nobody is signed out. After the grace a spent token is
// in wrong hands, or the current one is: the whole login is revoked.
//
// Successors are derived, not stored: a second run of the transaction, and
// every racer, comes to the same. The salt goes at the next rotation after the grace.
func (s *Service) Refresh(ctx context.Context, text string) (TokenPair, error) {
	presented, err := parseRefreshToken(text)
	if err != nil {
		return TokenPair{}, errRefresh.Because(err)
	}
	salt := random(saltBytes)
	var (
		current  refreshToken
		access   Access
		expires  time.Time
		replayed bool
	)
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		replayed = false
		login, err := s.loginOf(tx, presented)
		if err != nil {
			return err
		}
		m, err := tx.Membership(login.TenantID, login.UserID)
		if err != nil {
			return orSignedOut(err, "the membership")
		}
		login.Spent = within(login.Spent, tx.Now().Add(-s.cfg.RefreshGrace))
		var live bool
		if current, live = follow(login, presented); !live {
			replayed = true
			Record(tx, login.TenantID, login.UserID, actLoginReplayed, login.ID)
			tx.DeleteLogin(login)
			return nil
		}
		if current == presented {
			if current, err = s.rotate(tx, &login, presented, salt); err != nil {
				return err
			}
		}
		access = Access{UserID: login.UserID, TenantID: login.TenantID, LoginID: login.ID, Role: m.Role}
		expires = login.ExpiresAt
		return nil
	})
	if err != nil {
		return TokenPair{}, err
	}
	if replayed {
		return TokenPair{}, errRefresh.Because(errReplay)
	}
	return s.pair(access, current, expires)
}

// loginOf returns the live login that a token belongs to, spent or not.
func (s *Service) loginOf(tx *store.Tx, token refreshToken) (store.Login, error) {
	record, err := tx.RefreshToken(token.hash())
	if err != nil {
		err = fmt.Errorf("reading the refresh token: %w", err)
		if errors.Is(err, store.ErrNotFound) {
			return store.Login{}, errRefresh.Because(err)
		}
		return store.Login{}, err
	}
	login, _, err := liveLogin(tx.Reader, record.UserID, record.LoginID)
	return login, err
}

// within drops what was spent before since.
func within(spent []store.SpentToken, since time.Time) []store.SpentToken {
	for len(spent) > 0 && spent[0].At.Before(since) {
		spent = spent[1:]
	}
	return spent
}

// follow goes from a token of the login to its current one, over those that
// were spent within the grace; false says that this one was spent before.
func follow(login store.Login, token refreshToken) (refreshToken, bool) {
	for _, spent := range login.Spent {
		if hash := token.hash(); bytes.Equal(spent.Hash[:], hash[:]) {
			token = token.successor(spent.Salt)
		}
	}
	return token, token.hash() == login.Current
}

// rotate spends the login's current token and returns its successor.
func (s *Service) rotate(tx *store.Tx, login *store.Login, token refreshToken, salt []byte) (refreshToken, error) {
	now := tx.Now()
	if len(login.Spent) >= maxSpent {
		return refreshToken{}, &fault.Error{
			Code:       fault.Busy,
			Message:    "This login is refreshed far too often; use the access token until it expires.",
			RetryAfter: login.Spent[0].At.Add(s.cfg.RefreshGrace).Sub(now) + time.Second,
		}
	}
	next := token.successor(salt)
	login.Spent = append(login.Spent, store.SpentToken{Hash: login.Current, Salt: salt, At: now})
	login.Current = next.hash()
	login.LastUsedAt = now
	login.ExpiresAt = earlier(now.Add(s.cfg.RefreshTTL), login.EndsAt)
	tx.PutLogin(*login)
	tx.PutRefreshToken(store.RefreshToken{
		Hash: login.Current, UserID: login.UserID, LoginID: login.ID, ExpiresAt: login.ExpiresAt,
	})
	return next, nil
}
