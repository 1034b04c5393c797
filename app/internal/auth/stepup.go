package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
)

// RecentFor is how long a proof of who somebody is allows what RequireRecent guards.
const RecentFor = 10 * time.Minute

// Methods of a proof, by the names that a login keeps.
const (
	methodPassword = "password"
	methodTOTP     = "totp"
	methodRecovery = "recovery_code"
	methodPasskey  = "passkey"
)

var errStepUp = fault.New(fault.StepUpRequired, "Prove again who you are (POST /auth/step-up), then repeat this.")

// RequireRecent is Authorize for what a stolen token must not be enough for:
// the user has proven who they are on this login, within RecentFor and, if
// they have a second factor, with it. Else it returns fault.StepUpRequired.
func RequireRecent(r *store.Reader, a Access) (Access, error) {
	a, err := Authorize(r, a)
	if err != nil {
		return Access{}, err
	}
	login, err := r.Login(a.UserID, a.LoginID)
	if err != nil {
		return Access{}, orSignedOut(err, "the login")
	}
	if age := r.Now().Sub(login.Proof.At); age >= RecentFor {
		return Access{}, errStepUp.Because(fmt.Errorf("the last proof is %v old", age))
	}
	if strong(login.Proof) {
		return a, nil
	}
	factors, err := r.Factors(a.UserID)
	if err != nil {
		return Access{}, fmt.Errorf("reading the second factors: %w", err)
	}
	if factors.Any() {
		return Access{}, errStepUp.Because(errors.New("the last proof was without the second factor"))
	}
	return a, nil
}

// strong reports whether more than a password was proven.
func strong(p store.Proof) bool {
	return slices.ContainsFunc(p.Methods, func(m string) bool { return m != methodPassword })
}

// StepUpForm is the form of StepUp: what a login asks for, of who is signed in.
type StepUpForm struct {
	Password  string      // may be absent with a passkey that has verified its user
	Proof     FactorProof // may be empty for a user without a second factor
	Challenge string      // of StepUpOptions, with a passkey
	Address   string      // where the request came from
}

// Proven says until when a login may do what RequireRecent guards.
type Proven struct {
	Methods []string
	At      time.Time
	Until   time.Time
}

// StepUpOptions begins a step-up with one of the user's passkeys.
func (s *Service) StepUpOptions(ctx context.Context, a Access) (Ceremony, error) {
	token, record := s.newChallenge(forStepUp)
	record.UserID, record.LoginID = a.UserID, a.LoginID
	var (
		user    store.User
		factors store.Factors
	)
	err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
		if user, factors, err = s.self(tx.Reader, a); err != nil {
			return err
		}
		if factors = trusted(factors); len(factors.Passkeys) == 0 {
			return errNoFactor
		}
		tx.PutChallenge(record)
		return nil
	})
	if err != nil {
		return Ceremony{}, err
	}
	options, err := s.passkeys.LoginOptions(account(user, factors), token.webauthn())
	return Ceremony{Challenge: token.text(), ExpiresAt: record.ExpiresAt, Options: options}, err
}

// StepUp proves anew, on the login of a, who the user is. It asks for no less
// than signing in would: the password and, of who has one, a second factor; or
// a passkey that has verified its user.
func (s *Service) StepUp(ctx context.Context, a Access, form StepUpForm) (Proven, error) {
	try, token, err := form.try()
	if err != nil {
		return Proven{}, err
	}
	var checked store.User
	if form.Password != "" {
		if checked, err = s.proven(ctx, a, form.Password, form.Address, "password"); err != nil {
			return Proven{}, err
		}
	}
	proof := store.Proof{ID: try.id, At: s.now().UTC().Truncate(time.Millisecond)}
	var refused *fault.Error
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		refused = nil
		user, factors, err := s.self(tx.Reader, a)
		if err != nil {
			return err
		}
		login, err := tx.Login(a.UserID, a.LoginID)
		if err != nil {
			return orSignedOut(err, "the login")
		}
		if login.Proof.ID == proof.ID { // an earlier run wrote it
			proof = login.Proof
			return nil
		}
		proof.Methods = nil
		if form.Password != "" {
			if user.PasswordHash != checked.PasswordHash {
				return errChanging
			}
			proof.Methods = append(proof.Methods, methodPassword)
		}
		if form.Proof.empty() && factors.Any() {
			return errFactorMissing
		}
		if !form.Proof.empty() {
			var method string
			if method, refused, err = s.proveAgain(tx, a, user, factors, try, token); err != nil || refused != nil {
				return err
			}
			proof.Methods = append(proof.Methods, method)
		}
		login.Proof = proof
		tx.PutLogin(login)
		return nil
	})
	switch {
	case err != nil:
		return Proven{}, err
	case refused != nil:
		return Proven{}, form.Proof.refusal(refused)
	}
	return Proven{Methods: proof.Methods, At: proof.At, Until: proof.At.Add(RecentFor)}, nil
}

// proveAgain is prove for who is signed in; a passkey's challenge is used up with it.
func (s *Service) proveAgain(
	tx *store.Tx, a Access, user store.User, f store.Factors, try factorTry, token challengeToken,
) (method string, refusal *fault.Error, err error) {
	if len(try.proof.Passkey) == 0 {
		return s.prove(tx, user, f, try)
	}
	challenge, err := challengeFor(tx.Reader, token, forStepUp, a)
	if err != nil {
		return "", nil, err
	}
	if method, refusal, err = s.prove(tx, user, f, try); err == nil && refusal == nil {
		tx.DeleteChallenge(challenge)
	}
	return method, refusal, err
}

var errFactorMissing = fault.Invalid(fault.Field{Field: "totp", Problem: "is required, or else recovery_code or passkey: the account has a second factor"})

// refusal names the field of a proof that does not hold: for who is signed in
// already, 401 would tell a client that its token is at fault.
func (p FactorProof) refusal(err error) error {
	if fault.CodeOf(err) != fault.InvalidFactor {
		return err
	}
	field := "totp"
	switch {
	case p.RecoveryCode != "":
		field = "recovery_code"
	case len(p.Passkey) > 0:
		field = "passkey"
	}
	return fault.Invalid(fault.Field{Field: field, Problem: "is wrong, was used already or is trusted no more"}).Because(err)
}

func (p FactorProof) empty() bool { return p.TOTP == "" && p.RecoveryCode == "" && len(p.Passkey) == 0 }

// try checks the form; the token is that of a passkey's challenge.
func (f StepUpForm) try() (factorTry, challengeToken, error) {
	if f.Password == "" && len(f.Proof.Passkey) == 0 {
		return factorTry{}, challengeToken{}, fault.Invalid(fault.Field{Field: "password", Problem: "is required, or else a passkey"})
	}
	if f.Proof.empty() {
		id, err := newID()
		return factorTry{id: id}, challengeToken{}, err
	}
	try, err := newTry(f.Proof)
	if err != nil || len(f.Proof.Passkey) == 0 {
		return try, challengeToken{}, f.Proof.refusal(err)
	}
	token, err := parseChallengeToken(f.Challenge)
	try.challenge, try.verified = token.webauthn(), f.Password == ""
	return try, token, err
}

// self returns the user of a with their second factors, once a is authorized.
func (s *Service) self(r *store.Reader, a Access) (store.User, store.Factors, error) {
	if _, err := Authorize(r, a); err != nil {
		return store.User{}, store.Factors{}, err
	}
	user, err := r.User(a.UserID)
	if err != nil {
		return store.User{}, store.Factors{}, orSignedOut(err, "the user")
	}
	factors, err := r.Factors(a.UserID)
	if err != nil {
		return store.User{}, store.Factors{}, fmt.Errorf("reading the second factors: %w", err)
	}
	return user, factors, nil
}
