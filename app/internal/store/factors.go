package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store/tuple"
)

// Names of the key kinds of second factors; on disk, so they never change.
const (
	nameFactors    = "factors"
	namePasskeys   = "passkeys"
	nameChallenges = "challenges"
)

// Factors are everything that a user proves themselves with beside the
// password, in one record: whoever uses up one of them conflicts with whoever
// does so at the same moment.
type Factors struct {
	UserID   uuid.UUID   `json:"-"`
	TOTP     *TOTP       `json:"totp,omitempty"`
	Passkeys []Passkey   `json:"passkeys,omitempty"` // in the order in which they were added
	Recovery []TokenHash `json:"recovery,omitempty"` // hashes of the recovery codes that are left
	Failed   Failed      `json:"failed,omitzero"`    // of the codes of TOTP
	Extra

	indexed [][]byte // credential ids that have an index entry
}

// TOTP is an authenticator app.
type TOTP struct {
	ID        uuid.UUID `json:"id"` // of the act that added it
	Sealed    []byte    `json:"sealed"`
	LastStep  int64     `json:"last_step"` // the latest time step whose code was used
	CreatedAt time.Time `json:"created_at"`
	Extra
}

// Passkey is a WebAuthn credential.
type Passkey struct {
	ID             uuid.UUID `json:"id"`
	CredentialID   []byte    `json:"credential_id"`
	PublicKey      []byte    `json:"public_key"` // COSE
	SignCount      uint32    `json:"sign_count,omitempty"`
	Transports     []string  `json:"transports,omitempty"`
	AAGUID         []byte    `json:"aaguid,omitempty"`
	Attachment     string    `json:"attachment,omitempty"`
	BackupEligible bool      `json:"backup_eligible,omitempty"`
	BackedUp       bool      `json:"backed_up,omitempty"`
	Name           string    `json:"name"`
	CreatedAt      time.Time `json:"created_at"`
	LastUsedAt     time.Time `json:"last_used_at,omitzero"`
	// SuspectedAt is when its counter went back, as that of a clone does; it
	// proves nothing from then on.
	SuspectedAt time.Time `json:"suspected_at,omitzero"`
	Extra
}

// Failed are the wrong codes in a row.
type Failed struct {
	Count int       `json:"count"`
	Until time.Time `json:"until"` // no code is looked at before
	Last  uuid.UUID `json:"last"`  // the attempt that was counted last
	Extra
}

// Any reports whether there is a second factor. Recovery codes stand in for
// one and are none.
func (f Factors) Any() bool { return f.TOTP != nil || len(f.Passkeys) > 0 }

// Challenge is a sign-in or an enrolment that was begun and waits for its
// proof. Only who holds the token can go on, and only once.
type Challenge struct {
	Hash      TokenHash `json:"-"` // SHA-256 of the token
	Purpose   string    `json:"purpose"`
	UserID    uuid.UUID `json:"user_id,omitzero"`   // nil for a passwordless login
	LoginID   uuid.UUID `json:"login_id,omitzero"`  // of who is signed in already
	TenantID  uuid.UUID `json:"tenant_id,omitzero"` // to sign in to
	Device    string    `json:"device,omitempty"`
	Password  TokenHash `json:"password,omitzero"` // SHA-256 of the password's hash that was checked
	Epoch     int64     `json:"epoch,omitempty"`   // the user's LoginEpoch
	Sealed    []byte    `json:"sealed,omitempty"`  // the secret to be enrolled
	ExpiresAt time.Time `json:"expires_at"`
	Extra
}

func (Factors) version() byte   { return 1 }
func (Challenge) version() byte { return 1 }

// The keys of second factors:
//
//	users/{user}/factors        factors record
//	passkeys/{credential id}    user id: a credential belongs to one user
//	challenges/{SHA-256}        challenge record, owned as one-time tokens are
func (s space) factors(u uuid.UUID) tuple.Key { return s.user(u).Text(nameFactors) }

func (s space) passkey(credential []byte) tuple.Key {
	return s.prefix.Text(namePasskeys).Bytes(credential)
}

// Factors returns the user's second factors: none where there is no record.
func (r *Reader) Factors(userID uuid.UUID) (Factors, error) {
	f, err := load[Factors](r, r.space.factors(userID))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Factors{}, err
	}
	f.UserID = userID
	for _, p := range f.Passkeys {
		f.indexed = append(f.indexed, p.CredentialID)
	}
	return f, nil
}

// AppOwners returns the users who have an authenticator app, each as it was at
// some moment of the call.
func (s *Store) AppOwners(ctx context.Context) ([]uuid.UUID, error) {
	found := &appOwners{}
	if _, err := s.walkIn(ctx, below(s.space.users()), found); err != nil {
		return nil, fmt.Errorf("looking for authenticator apps: %w", err)
	}
	return found.done, nil
}

// appOwners gathers users whose record of factors has an app.
type appOwners struct{ done, now []uuid.UUID }

func (a *appOwners) begin() { a.now = nil }

func (a *appOwners) end() error {
	a.done, a.now = append(a.done, a.now...), nil
	return nil
}

func (a *appOwners) visit(r *Reader, p kv.Pair) error {
	e, err := r.space.parse(p)
	if err != nil || forms[e.form].kind != nameFactors {
		return nil //nolint:nilerr // Check names what cannot be read
	}
	f, err := decode[Factors](e.Value)
	if err == nil && f.TOTP != nil {
		a.now = append(a.now, e.ids[0])
	}
	return nil
}

// PutFactors replaces factors that were read in this transaction, and moves
// the index of passkeys along. Without a second factor nothing is kept, no
// recovery code either.
func (t *Tx) PutFactors(f Factors) {
	for _, id := range f.indexed {
		if !slices.ContainsFunc(f.Passkeys, func(p Passkey) bool { return bytes.Equal(p.CredentialID, id) }) {
			t.clear(t.space.passkey(id))
		}
	}
	if !f.Any() {
		t.clear(t.space.factors(f.UserID))
		return
	}
	for _, p := range f.Passkeys {
		t.set(t.space.passkey(p.CredentialID), tuple.Key{}.UUID(f.UserID))
	}
	t.put(f, t.space.factors(f.UserID))
}

// DeleteFactors removes factors that were read in this transaction.
func (t *Tx) DeleteFactors(f Factors) {
	t.PutFactors(Factors{UserID: f.UserID, indexed: f.indexed})
}

// PasskeyOwner returns whose the credential is, or ErrNotFound.
func (r *Reader) PasskeyOwner(credential []byte) (uuid.UUID, error) {
	ids, err := loadIDs(r, r.space.passkey(credential), 1)
	if err != nil {
		return uuid.Nil, err
	}
	return ids[0], nil
}

// Challenge returns the challenge whose token has this hash, or ErrNotFound
// where there is none or it has expired.
func (r *Reader) Challenge(hash TokenHash) (Challenge, error) {
	c, err := load[Challenge](r, r.space.hashed(nameChallenges, hash))
	if err != nil {
		return Challenge{}, err
	}
	if !c.ExpiresAt.After(r.now) {
		return Challenge{}, ErrNotFound
	}
	c.Hash = hash
	return c, nil
}

// PutChallenge adds a challenge. One that was read is never changed.
func (t *Tx) PutChallenge(c Challenge) {
	t.putHashed(c, nameChallenges, c.UserID, c.Hash, c.ExpiresAt)
}

// DeleteChallenge removes a challenge that was read in this transaction.
func (t *Tx) DeleteChallenge(c Challenge) {
	t.deleteHashed(nameChallenges, c.UserID, c.Hash, c.ExpiresAt)
}
