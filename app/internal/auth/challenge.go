package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/factor"
	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
)

// challengeTTL is how long a ceremony that was begun waits for its proof.
const challengeTTL = 5 * time.Minute

// Purposes of challenges: one that was begun for one thing is good for no other.
const (
	forLogin        = "login"        // the password was right, a second factor is asked for
	forPasswordless = "passwordless" // a passkey alone
	forStepUp       = "step_up"      // a passkey of who is signed in
	forTOTP         = "totp"         // an authenticator app is being added
	forPasskey      = "passkey"      // a passkey is being added
	challengePrefix = "cdc_"         // as refreshPrefix
)

// errChallenge answers a challenge that is none, is used, has expired, or was
// made for somebody or something else: why is for the log.
var errChallenge = fault.New(fault.InvalidChallenge, "This was begun too long ago, or is done already; begin again.")

// challengeToken is 256 bits that a client keeps while it gathers a proof. The
// store has only its hash.
type challengeToken [32]byte

func (t challengeToken) text() string {
	return challengePrefix + base64.RawURLEncoding.EncodeToString(t[:])
}

func (t challengeToken) hash() store.TokenHash { return sha256.Sum256(t[:]) }

// webauthn is what an authenticator signs.
func (t challengeToken) webauthn() factor.Challenge { return factor.ChallengeOf(t[:]) }

func parseChallengeToken(text string) (challengeToken, error) {
	body, ok := strings.CutPrefix(text, challengePrefix)
	if !ok || len(body) != base64.RawURLEncoding.EncodedLen(len(challengeToken{})) || strings.ContainsAny(body, "\r\n") {
		return challengeToken{}, errChallenge.Because(errors.New("not the form of a challenge"))
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil {
		return challengeToken{}, errChallenge.Because(fmt.Errorf("decoding a challenge: %w", err))
	}
	return challengeToken(b), nil
}

// newChallenge is made outside of the transaction that writes it, so that
// every run of it writes the same.
func (s *Service) newChallenge(purpose string) (challengeToken, store.Challenge) {
	token := challengeToken(random(len(challengeToken{})))
	expires := s.now().UTC().Truncate(time.Millisecond).Add(challengeTTL)
	return token, store.Challenge{Hash: token.hash(), Purpose: purpose, ExpiresAt: expires}
}

// challengeFor returns the challenge of a token, made for purpose and by the
// login of a; a zero Access stands for nobody.
func challengeFor(r *store.Reader, token challengeToken, purpose string, a Access) (store.Challenge, error) {
	c, err := r.Challenge(token.hash())
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.Challenge{}, errChallenge.Because(err)
	case err != nil:
		return store.Challenge{}, fmt.Errorf("reading the challenge: %w", err)
	case c.Purpose != purpose:
		return store.Challenge{}, errChallenge.Because(fmt.Errorf("made for %s, used for %s", c.Purpose, purpose))
	case a.LoginID != uuid.Nil && (c.LoginID != a.LoginID || c.UserID != a.UserID):
		return store.Challenge{}, errChallenge.Because(errors.New("made by another login"))
	}
	return c, nil
}

// Ceremony is a proof that a client is asked for.
type Ceremony struct {
	Challenge string // comes back with the proof, once
	ExpiresAt time.Time
	Options   json.RawMessage // for navigator.credentials in a browser
}

func account(u store.User, f store.Factors) factor.Account {
	return factor.Account{ID: u.ID, Name: u.Email, Display: strings.TrimSpace(u.FirstName + " " + u.LastName), Passkeys: f.Passkeys}
}

// secrets are those of the ring's keys, in their order.
func (r *Keyring) secrets() [][]byte {
	if r == nil {
		return nil
	}
	var all [][]byte
	for _, k := range r.all {
		if k.secret != nil {
			all = append(all, k.secret)
		}
	}
	return all
}
