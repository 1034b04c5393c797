package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/factor"
	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
)

// PasskeyConfig names the relying party of passkeys. A zero value takes the
// default in the comment.
type PasskeyConfig struct {
	Domain  string   // that passkeys belong to for good: localhost
	Origins []string // of the pages that may use them: http://localhost:8080
	Name    string   // that people see: Coditect
}

func (c PasskeyConfig) withDefaults() PasskeyConfig {
	c.Domain = or(c.Domain, "localhost")
	c.Name = or(c.Name, "Coditect")
	if len(c.Origins) == 0 {
		c.Origins = []string{fmt.Sprintf("http://localhost:%d", contract.Port)}
	}
	return c
}

// The acts of second factors, as audit trails name them.
const (
	actFactorAdded      = "factor.added"
	actFactorRemoved    = "factor.removed"
	actFactorSuspected  = "factor.suspected"
	actRecoveryReplaced = "factor.recovery_codes_replaced"
	actRecoveryUsed     = "factor.recovery_code_used"
)

// maxPasskeys is how many a user may have.
const maxPasskeys = 20

var (
	errNoFactor     = fault.New(fault.NotFound, "You have no such second factor.")
	errTOTPExists   = fault.New(fault.FactorExists, "There is an authenticator app already; remove it first.")
	errKnownPasskey = fault.New(fault.FactorExists, "This passkey is registered already.")
	errManyPasskeys = fault.New(fault.LimitReached, fmt.Sprintf("There are %d passkeys already; remove one first.", maxPasskeys))
)

// Factors are a user's second factors, as they see them.
type Factors struct {
	TOTPSince         time.Time // zero without an authenticator app
	Passkeys          []Passkey
	RecoveryCodesLeft int
}

// Passkey is a passkey as its user sees it.
type Passkey struct {
	ID          uuid.UUID
	Name        string
	Synced      bool // it is backed up, so that losing a device does not lose it
	CreatedAt   time.Time
	LastUsedAt  time.Time // zero before its first use
	SuspectedAt time.Time // when it was found that there may be two of it; zero while it is trusted
}

func passkeyOf(p store.Passkey) Passkey {
	return Passkey{
		ID: p.ID, Name: p.Name, Synced: p.BackedUp,
		CreatedAt: p.CreatedAt, LastUsedAt: p.LastUsedAt, SuspectedAt: p.SuspectedAt,
	}
}

// Factors returns the second factors of the user of a.
func (s *Service) Factors(ctx context.Context, a Access) (Factors, error) {
	var found store.Factors
	err := s.store.View(ctx, func(r *store.Reader) (err error) {
		_, found, err = s.self(r, a)
		return err
	})
	return factorsOf(found), err
}

func factorsOf(f store.Factors) Factors {
	out := Factors{RecoveryCodesLeft: len(f.Recovery), Passkeys: make([]Passkey, 0, len(f.Passkeys))}
	if f.TOTP != nil {
		out.TOTPSince = f.TOTP.CreatedAt
	}
	for _, p := range f.Passkeys {
		out.Passkeys = append(out.Passkeys, passkeyOf(p))
	}
	return out
}

// NewTOTP is an authenticator app that is being added.
type NewTOTP struct {
	Challenge string
	ExpiresAt time.Time
	Secret    string // to type; it is never shown again
	URI       string // to scan
}

// BeginTOTP makes the secret of an authenticator app. It counts for nothing
// until FinishTOTP has seen that the app has it.
func (s *Service) BeginTOTP(ctx context.Context, a Access) (NewTOTP, error) {
	secret := factor.NewTOTPSecret()
	token, record := s.newChallenge(forTOTP)
	record.UserID, record.LoginID = a.UserID, a.LoginID
	record.Sealed = s.sealer.Seal(secret, totpPlace(a.UserID))
	var user store.User
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		var factors store.Factors
		var err error
		if user, factors, err = s.recent(tx.Reader, a); err != nil {
			return err
		}
		if factors.TOTP != nil {
			return errTOTPExists
		}
		tx.PutChallenge(record)
		return nil
	})
	if err != nil {
		return NewTOTP{}, err
	}
	return NewTOTP{
		Challenge: token.text(), ExpiresAt: record.ExpiresAt,
		Secret: factor.TOTPText(secret), URI: factor.TOTPURI(secret, s.cfg.Passkeys.Name, user.Email),
	}, nil
}

// recent is self for what a stolen token must not be enough for.
func (s *Service) recent(r *store.Reader, a Access) (store.User, store.Factors, error) {
	if _, err := RequireRecent(r, a); err != nil {
		return store.User{}, store.Factors{}, err
	}
	return s.self(r, a)
}

// Recovery are new recovery codes, shown this once; none where the user has
// had theirs before.
type Recovery struct{ Codes []string }

// addition is a factor that is being added, with the recovery codes that the
// first one comes with. It is made outside of the transaction.
type addition struct {
	id     uuid.UUID
	method string
	codes  []string
	hashes []store.TokenHash
	notice store.Letter
}

func (s *Service) newAddition(userID uuid.UUID, method string) (n addition, err error) {
	n.method = method
	n.codes, n.hashes = factor.NewRecoveryCodes(userID)
	if n.id, err = newID(); err != nil {
		return addition{}, err
	}
	n.notice, err = s.notice(letterFactors)
	return n, err
}

// add writes factors with a new one, whose enrolment proves it on the login
// of a, so that it is not asked for at once.
func (n addition) add(tx *store.Tx, a Access, user store.User, f store.Factors, c store.Challenge) error {
	login, err := tx.Login(a.UserID, a.LoginID)
	if err != nil {
		return orSignedOut(err, "the login")
	}
	if len(f.Recovery) == 0 {
		f.Recovery = n.hashes
	}
	if !slices.Contains(login.Proof.Methods, n.method) {
		login.Proof.Methods = append(login.Proof.Methods, n.method)
	}
	tx.PutLogin(login)
	tx.PutFactors(f)
	tx.DeleteChallenge(c)
	Record(tx, SelfTenantID(a.UserID), a.UserID, actFactorAdded, n.id, "kind", n.method)
	tell(tx, n.notice, user)
	return nil
}

// shown returns the codes that are those of f.
func (n addition) shown(f store.Factors) Recovery {
	if len(f.Recovery) > 0 && f.Recovery[0] == n.hashes[0] {
		return Recovery{Codes: n.codes}
	}
	return Recovery{}
}

// FinishTOTP adds the authenticator app that BeginTOTP began, for who shows a
// code of it. That code is used up.
func (s *Service) FinishTOTP(ctx context.Context, a Access, challenge, code string) (Recovery, error) {
	token, err := parseChallengeToken(challenge)
	if err != nil {
		return Recovery{}, err
	}
	n, err := s.newAddition(a.UserID, methodTOTP)
	if err != nil {
		return Recovery{}, err
	}
	var shown Recovery
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		user, f, err := s.self(tx.Reader, a)
		if err != nil {
			return err
		}
		if f.TOTP != nil && f.TOTP.ID == n.id { // an earlier run added it
			shown = n.shown(f)
			return nil
		}
		c, err := challengeFor(tx.Reader, token, forTOTP, a)
		if err != nil {
			return err
		}
		if f.TOTP != nil {
			return errTOTPExists
		}
		secret, err := s.sealer.Open(c.Sealed, totpPlace(a.UserID))
		if err != nil {
			return fmt.Errorf("the authenticator app to be added: %w", err)
		}
		step, ok := factor.MatchTOTP(secret, code, tx.Now(), 0)
		if !ok {
			return fault.Invalid(fault.Field{Field: "code", Problem: "is not what the app shows now"})
		}
		f.TOTP = &store.TOTP{ID: n.id, Sealed: c.Sealed, LastStep: step, CreatedAt: tx.Now()}
		f.Failed = store.Failed{}
		if len(f.Recovery) == 0 {
			shown = Recovery{Codes: n.codes}
		}
		return n.add(tx, a, user, f, c)
	})
	if err != nil {
		return Recovery{}, err
	}
	return shown, nil
}

// BeginPasskey begins the registration of a passkey.
func (s *Service) BeginPasskey(ctx context.Context, a Access) (Ceremony, error) {
	token, record := s.newChallenge(forPasskey)
	record.UserID, record.LoginID = a.UserID, a.LoginID
	var (
		user    store.User
		factors store.Factors
	)
	err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
		if user, factors, err = s.recent(tx.Reader, a); err != nil {
			return err
		}
		if len(factors.Passkeys) >= maxPasskeys {
			return errManyPasskeys
		}
		tx.PutChallenge(record)
		return nil
	})
	if err != nil {
		return Ceremony{}, err
	}
	options, err := s.passkeys.RegistrationOptions(account(user, factors), token.webauthn())
	return Ceremony{Challenge: token.text(), ExpiresAt: record.ExpiresAt, Options: options}, err
}

// NewPasskey is the form of FinishPasskey.
type NewPasskey struct {
	Challenge string          // of BeginPasskey
	Name      string          // that tells it from others
	Response  json.RawMessage // what navigator.credentials.create gave, as JSON
}

// FinishPasskey adds the passkey whose registration BeginPasskey began.
func (s *Service) FinishPasskey(ctx context.Context, a Access, form NewPasskey) (Passkey, Recovery, error) {
	name, problem := NormalName(form.Name, 1, maxName)
	if problem != "" {
		return Passkey{}, Recovery{}, fault.Invalid(fault.Field{Field: "name", Problem: problem})
	}
	token, err := parseChallengeToken(form.Challenge)
	if err != nil {
		return Passkey{}, Recovery{}, err
	}
	n, err := s.newAddition(a.UserID, methodPasskey)
	if err != nil {
		return Passkey{}, Recovery{}, err
	}
	var (
		made  store.Passkey
		shown Recovery
	)
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		user, f, err := s.self(tx.Reader, a)
		if err != nil {
			return err
		}
		if i := placeOf(f, n.id); i >= 0 { // an earlier run added it
			made, shown = f.Passkeys[i], n.shown(f)
			return nil
		}
		c, err := challengeFor(tx.Reader, token, forPasskey, a)
		if err != nil {
			return err
		}
		if made, err = s.passkeys.Register(factor.Account{ID: a.UserID}, token.webauthn(), form.Response); err != nil {
			return fault.Invalid(fault.Field{Field: "passkey", Problem: "is not the answer to this challenge"}).Because(err)
		}
		switch _, err := tx.PasskeyOwner(made.CredentialID); {
		case err == nil:
			return errKnownPasskey
		case !errors.Is(err, store.ErrNotFound):
			return fmt.Errorf("looking up the credential: %w", err)
		case len(f.Passkeys) >= maxPasskeys:
			return errManyPasskeys
		}
		made.ID, made.Name, made.CreatedAt = n.id, name, tx.Now()
		f.Passkeys = append(slices.Clone(f.Passkeys), made)
		if len(f.Recovery) == 0 {
			shown = Recovery{Codes: n.codes}
		}
		return n.add(tx, a, user, f, c)
	})
	if err != nil {
		return Passkey{}, Recovery{}, err
	}
	return passkeyOf(made), shown, nil
}

func placeOf(f store.Factors, id uuid.UUID) int {
	return slices.IndexFunc(f.Passkeys, func(p store.Passkey) bool { return p.ID == id })
}

// RenamePasskey changes the name of a passkey of the user's.
func (s *Service) RenamePasskey(ctx context.Context, a Access, id uuid.UUID, name string) (Passkey, error) {
	name, problem := NormalName(name, 1, maxName)
	if problem != "" {
		return Passkey{}, fault.Invalid(fault.Field{Field: "name", Problem: problem})
	}
	var renamed store.Passkey
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		_, f, err := s.self(tx.Reader, a)
		if err != nil {
			return err
		}
		i := placeOf(f, id)
		if i < 0 {
			return errNoFactor
		}
		f.Passkeys = slices.Clone(f.Passkeys)
		f.Passkeys[i].Name = name
		renamed = f.Passkeys[i]
		tx.PutFactors(f)
		return nil
	})
	return passkeyOf(renamed), err
}

// RemovePasskey removes a passkey of the user's. With the last second factor
// the recovery codes go too.
func (s *Service) RemovePasskey(ctx context.Context, a Access, id uuid.UUID) error {
	return s.remove(ctx, a, methodPasskey, func(f store.Factors) (store.Factors, bool) {
		i := placeOf(f, id)
		if i < 0 {
			return f, false
		}
		f.Passkeys = slices.Delete(slices.Clone(f.Passkeys), i, i+1)
		return f, true
	})
}

// RemoveTOTP removes the authenticator app, as RemovePasskey does a passkey.
func (s *Service) RemoveTOTP(ctx context.Context, a Access) error {
	return s.remove(ctx, a, methodTOTP, func(f store.Factors) (store.Factors, bool) {
		there := f.TOTP != nil
		f.TOTP, f.Failed = nil, store.Failed{}
		return f, there
	})
}

// remove takes a factor away; without reports whether it was there.
func (s *Service) remove(ctx context.Context, a Access, kind string, without func(store.Factors) (store.Factors, bool)) error {
	notice, err := s.notice(letterFactors)
	if err != nil {
		return err
	}
	seen := false // by an earlier run, whose commit may have taken effect
	return s.store.Update(ctx, func(tx *store.Tx) error {
		user, f, err := s.recent(tx.Reader, a)
		if err != nil {
			return err
		}
		f, there := without(f)
		switch {
		case !there && seen:
			return nil
		case !there:
			return errNoFactor
		}
		seen = true
		tx.PutFactors(f)
		Record(tx, SelfTenantID(a.UserID), a.UserID, actFactorRemoved, a.UserID, "kind", kind)
		tell(tx, notice, user)
		return nil
	})
}

// NewRecoveryCodes replaces all recovery codes of a user with a second factor.
func (s *Service) NewRecoveryCodes(ctx context.Context, a Access) (Recovery, error) {
	codes, hashes := factor.NewRecoveryCodes(a.UserID)
	notice, err := s.notice(letterFactors)
	if err != nil {
		return Recovery{}, err
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		user, f, err := s.recent(tx.Reader, a)
		if err != nil {
			return err
		}
		if !f.Any() {
			return errNoFactor
		}
		if len(f.Recovery) > 0 && f.Recovery[0] == hashes[0] { // an earlier run
			return nil
		}
		f.Recovery = hashes
		tx.PutFactors(f)
		Record(tx, SelfTenantID(a.UserID), a.UserID, actRecoveryReplaced, a.UserID)
		tell(tx, notice, user)
		return nil
	})
	if err != nil {
		return Recovery{}, err
	}
	return Recovery{Codes: codes}, nil
}
