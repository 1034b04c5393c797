package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
)

// SecondFactor is what a user with a second factor is asked for once their
// password was right.
type SecondFactor struct {
	Ceremony          // Options are nil without a passkey
	Methods  []string // that may answer: totp, passkey, recovery_code
}

// begin writes the challenge that stands for a login with the right password.
func (p pending) begin(tx *store.Tx, user store.User, tenantID uuid.UUID, device string) {
	p.record.UserID, p.record.TenantID, p.record.Device = user.ID, tenantID, device
	p.record.Password, p.record.Epoch = sha256.Sum256([]byte(user.PasswordHash)), user.LoginEpoch
	tx.PutChallenge(p.record)
}

// pending is a login that waits for its second factor.
type pending struct {
	token   challengeToken
	record  store.Challenge
	factors store.Factors // those that were found; none where the login is open already
}

// asks is the answer to a login that is pending.
func (s *Service) asks(user store.User, p pending) (SignedIn, error) {
	ask := SecondFactor{Ceremony: Ceremony{Challenge: p.token.text(), ExpiresAt: p.record.ExpiresAt}}
	if p.factors.TOTP != nil {
		ask.Methods = append(ask.Methods, methodTOTP)
	}
	if f := trusted(p.factors); len(f.Passkeys) > 0 {
		ask.Methods = append(ask.Methods, methodPasskey)
		var err error
		if ask.Options, err = s.passkeys.LoginOptions(account(user, f), p.token.webauthn()); err != nil {
			return SignedIn{}, err
		}
	}
	if len(p.factors.Recovery) > 0 {
		ask.Methods = append(ask.Methods, methodRecovery)
	}
	return SignedIn{SecondFactor: &ask}, nil
}

// SecondFactorForm is the form of FinishLogin.
type SecondFactorForm struct {
	Challenge string // of the SecondFactor that Login answered
	Proof     FactorProof
	Address   string // where the request came from
}

// FinishLogin opens the login that Login began, for who proves a second
// factor. The challenge is used up by that and by nothing else, so that a
// mistyped code does not ask for the password again.
func (s *Service) FinishLogin(ctx context.Context, form SecondFactorForm) (SignedIn, error) {
	token, err := parseChallengeToken(form.Challenge)
	if err != nil {
		return SignedIn{}, err
	}
	try, err := newTry(form.Proof)
	if err != nil {
		return SignedIn{}, err
	}
	try.challenge = token.webauthn()
	return s.finish(ctx, finishing{
		token: token, try: try, purpose: forLogin, methods: []string{methodPassword}, address: form.Address,
	})
}

// PasswordlessOptions begins a login with a passkey alone.
func (s *Service) PasswordlessOptions(ctx context.Context) (Ceremony, error) {
	token, record := s.newChallenge(forPasswordless)
	options, err := s.passkeys.PasswordlessOptions(token.webauthn())
	if err != nil {
		return Ceremony{}, err
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		tx.PutChallenge(record)
		return nil
	})
	return Ceremony{Challenge: token.text(), ExpiresAt: record.ExpiresAt, Options: options}, err
}

// PasskeyForm is the form of PasskeyLogin.
type PasskeyForm struct {
	Challenge string          // of PasswordlessOptions
	Passkey   json.RawMessage // what navigator.credentials.get gave, as JSON
	TenantID  string          // optional: the self-tenant
	Device    string          // a label of the login
	Address   string          // where the request came from
}

// PasskeyLogin opens a login for who has a passkey and, by PIN or finger, has
// proven to it who they are: two factors in one, so that no other is asked for.
func (s *Service) PasskeyLogin(ctx context.Context, form PasskeyForm) (SignedIn, error) {
	tenantID, err := tenantOf(form.TenantID)
	if err != nil {
		return SignedIn{}, err
	}
	token, err := parseChallengeToken(form.Challenge)
	if err != nil {
		return SignedIn{}, err
	}
	try, err := newTry(FactorProof{Passkey: form.Passkey})
	if err != nil {
		return SignedIn{}, err
	}
	try.challenge, try.verified = token.webauthn(), true
	return s.finish(ctx, finishing{
		token: token, try: try, purpose: forPasswordless, tenantID: tenantID, device: form.Device, address: form.Address,
	})
}

// finishing is a login that was begun and is to be opened.
type finishing struct {
	token    challengeToken
	try      factorTry
	purpose  string
	methods  []string  // proven already
	tenantID uuid.UUID // of a login without a password: the others' are in the challenge
	device   string
	address  string
}

func (s *Service) finish(ctx context.Context, f finishing) (SignedIn, error) {
	in, err := newSignIn(f.device, f.address)
	if err != nil {
		return SignedIn{}, err
	}
	o := opening{in: in}
	var refused *fault.Error
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		refused = nil
		if done, err := o.opened(tx); done || err != nil {
			return err
		}
		challenge, err := challengeFor(tx.Reader, f.token, f.purpose, Access{})
		if err != nil {
			return err
		}
		if o.user, err = s.whose(tx.Reader, challenge, f.try); err != nil {
			return err
		}
		factors, err := tx.Factors(o.user.ID)
		if err != nil {
			return fmt.Errorf("reading the second factors: %w", err)
		}
		var method string
		if method, refused, err = s.prove(tx, o.user, factors, f.try); err != nil || refused != nil {
			return err
		}
		o.in.proof = append(slices.Clip(f.methods), method)
		o.in.device = or(o.in.device, challenge.Device)
		tx.DeleteChallenge(challenge)
		return o.open(tx, s.cfg, or(f.tenantID, challenge.TenantID))
	})
	switch {
	case err != nil:
		return SignedIn{}, err
	case refused != nil:
		return SignedIn{}, refused
	}
	return s.signedIn(o)
}

// whose returns the user whom a challenge or, without a password, a passkey
// names. A password that was changed since, and a sign-out everywhere, end
// what was begun before.
func (s *Service) whose(r *store.Reader, c store.Challenge, try factorTry) (store.User, error) {
	id, refusal := c.UserID, errChallenge
	if c.Purpose == forPasswordless {
		id, refusal = try.assertion.UserID, errFactor
	}
	user, err := r.User(id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.User{}, refusal.Because(err)
	case err != nil:
		return store.User{}, fmt.Errorf("reading the user: %w", err)
	case c.Purpose != forPasswordless && (c.Epoch != user.LoginEpoch || c.Password != sha256.Sum256([]byte(user.PasswordHash))):
		return store.User{}, refusal.Because(errors.New("the password was changed, or every login revoked, since it was begun"))
	}
	return user, nil
}

// tenantOf reads the tenant that a form asks for; "" is none.
func tenantOf(text string) (uuid.UUID, error) {
	if text == "" {
		return uuid.Nil, nil
	}
	id, err := uuid.Parse(text)
	if err != nil || id == uuid.Nil { // which would stand for none
		return uuid.Nil, fault.Invalid(fault.Field{Field: "tenant_id", Problem: "must be a UUID"})
	}
	return id, nil
}
