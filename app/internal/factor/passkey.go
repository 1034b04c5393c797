package factor

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/store"
)

// What is taken of a client's answer at all; ours have about 2 KiB.
const (
	maxResponse     = 32 << 10
	maxCredentialID = 1023 // WebAuthn, 4
	maxTransports   = 8
)

// RelyingParty makes and checks the ceremonies of WebAuthn. It is safe for
// concurrent use.
type RelyingParty struct{ w *webauthn.WebAuthn }

// NewRelyingParty makes one for a domain, which is part of every passkey for
// good, and the origins of the pages that may use them.
func NewRelyingParty(domain, name string, origins []string) (*RelyingParty, error) {
	w, err := webauthn.New(&webauthn.Config{
		RPID: domain, RPDisplayName: name, RPOrigins: origins,
		AttestationPreference: protocol.PreferNoAttestation,
	})
	if err != nil {
		return nil, fmt.Errorf("making a relying party: %w", err)
	}
	return &RelyingParty{w}, nil
}

// Account is a user with their passkeys, as WebAuthn sees them.
type Account struct {
	ID       uuid.UUID // the user handle
	Name     string
	Display  string
	Passkeys []store.Passkey
}

// account is an Account in the library's terms.
type account Account

func (a account) WebAuthnID() []byte          { return a.ID[:] }
func (a account) WebAuthnName() string        { return a.Name }
func (a account) WebAuthnDisplayName() string { return a.Display }

func (a account) WebAuthnCredentials() []webauthn.Credential {
	all := make([]webauthn.Credential, 0, len(a.Passkeys))
	for _, p := range a.Passkeys {
		c := webauthn.Credential{ID: p.CredentialID, PublicKey: p.PublicKey}
		for _, t := range p.Transports {
			c.Transport = append(c.Transport, protocol.AuthenticatorTransport(t))
		}
		c.Flags.BackupEligible, c.Flags.BackupState = p.BackupEligible, p.BackedUp
		c.Authenticator.AAGUID, c.Authenticator.SignCount = p.AAGUID, p.SignCount
		all = append(all, c)
	}
	return all
}

// Challenge is what an authenticator signs; it takes 16 bytes or more, which
// nobody else has seen.
type Challenge []byte

func (c Challenge) text() string { return base64.RawURLEncoding.EncodeToString(c) }

// RegistrationOptions are for navigator.credentials.create: a passkey that can
// sign in by itself where the authenticator has room for one, and none that
// the user has already.
func (rp *RelyingParty) RegistrationOptions(a Account, challenge Challenge) (json.RawMessage, error) {
	exclude := webauthn.Credentials(account(a).WebAuthnCredentials()).CredentialDescriptors()
	options, _, err := rp.w.BeginRegistration(account(a),
		webauthn.WithExclusions(exclude),
		webauthn.WithAuthenticatorSelection(selection()),
		func(o *protocol.PublicKeyCredentialCreationOptions) error {
			o.Challenge = protocol.URLEncodedBase64(challenge)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("making registration options: %w", err)
	}
	return encoded(options.Response)
}

func selection() protocol.AuthenticatorSelection {
	return protocol.AuthenticatorSelection{
		ResidentKey:        protocol.ResidentKeyRequirementPreferred,
		RequireResidentKey: protocol.ResidentKeyNotRequired(),
		UserVerification:   protocol.VerificationPreferred,
	}
}

// ErrResponse says that a client's answer does not prove what it should. The
// cause is for the log.
var ErrResponse = errors.New("the passkey's answer does not hold")

func refused(err error) error {
	if e, ok := errors.AsType[*protocol.Error](err); ok { // whose own text leaves out the reason
		return fmt.Errorf("%w: %s: %s %s", ErrResponse, e.Type, e.Details, e.DevInfo)
	}
	return fmt.Errorf("%w: %w", ErrResponse, err)
}

// Register checks the answer to RegistrationOptions and returns the new
// passkey, without id, name and times.
func (rp *RelyingParty) Register(a Account, challenge Challenge, response []byte) (store.Passkey, error) {
	if len(response) > maxResponse {
		return store.Passkey{}, fmt.Errorf("%w: %d bytes", ErrResponse, len(response))
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return store.Passkey{}, refused(err)
	}
	c, err := rp.w.CreateCredential(account(a), webauthn.SessionData{
		Challenge: challenge.text(), RelyingPartyID: rp.w.Config.RPID, UserID: a.ID[:],
		UserVerification: selection().UserVerification, CredParams: webauthn.CredentialParametersDefault(),
	}, parsed)
	switch {
	case err != nil:
		return store.Passkey{}, refused(err)
	case len(c.ID) == 0 || len(c.ID) > maxCredentialID:
		return store.Passkey{}, fmt.Errorf("%w: its id has %d bytes", ErrResponse, len(c.ID))
	}
	p := store.Passkey{
		CredentialID: c.ID, PublicKey: c.PublicKey, SignCount: c.Authenticator.SignCount,
		AAGUID: c.Authenticator.AAGUID, BackupEligible: c.Flags.BackupEligible, BackedUp: c.Flags.BackupState,
	}
	for _, t := range c.Transport {
		if known := slices.Contains(transports, t); known && len(p.Transports) < maxTransports {
			p.Transports = append(p.Transports, string(t))
		}
	}
	return p, nil
}

var transports = []protocol.AuthenticatorTransport{
	protocol.USB, protocol.NFC, protocol.BLE, protocol.SmartCard, protocol.Hybrid, protocol.Internal,
}

// LoginOptions are for navigator.credentials.get with one of the passkeys of a.
func (rp *RelyingParty) LoginOptions(a Account, challenge Challenge) (json.RawMessage, error) {
	options, _, err := rp.w.BeginLogin(account(a), fixed(challenge), webauthn.WithUserVerification(protocol.VerificationPreferred))
	if err != nil {
		return nil, fmt.Errorf("making login options: %w", err)
	}
	return encoded(options.Response)
}

// PasswordlessOptions are for navigator.credentials.get with any passkey that
// can sign in by itself; the authenticator verifies its user.
func (rp *RelyingParty) PasswordlessOptions(challenge Challenge) (json.RawMessage, error) {
	options, _, err := rp.w.BeginDiscoverableLogin(fixed(challenge), webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, fmt.Errorf("making login options: %w", err)
	}
	return encoded(options.Response)
}

func fixed(challenge Challenge) webauthn.LoginOption {
	return func(o *protocol.PublicKeyCredentialRequestOptions) error {
		o.Challenge = protocol.URLEncodedBase64(challenge)
		return nil
	}
}

// Assertion is a client's answer to login options, parsed and not yet checked.
type Assertion struct {
	parsed *protocol.ParsedCredentialAssertionData
	// UserID is whom a passkey that signs in by itself says it belongs to; nil where it says nothing.
	UserID uuid.UUID
}

// ParseAssertion reads the answer to login options.
func ParseAssertion(response []byte) (Assertion, error) {
	if len(response) > maxResponse {
		return Assertion{}, fmt.Errorf("%w: %d bytes", ErrResponse, len(response))
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return Assertion{}, refused(err)
	}
	a := Assertion{parsed: parsed}
	if handle := parsed.Response.UserHandle; len(handle) == len(a.UserID) {
		a.UserID = uuid.UUID(handle)
	}
	return a, nil
}

// Used is what an assertion that holds changes of its passkey.
type Used struct {
	Passkey   int // its place in the account
	SignCount uint32
	BackedUp  bool
	Cloned    bool // its counter has not grown: there may be two of it
}

// Check holds an assertion against the passkeys of a. With verified the
// authenticator must have verified its user, by a PIN or a finger; without,
// their presence is enough.
func (rp *RelyingParty) Check(a Account, challenge Challenge, assertion Assertion, verified bool) (Used, error) {
	requirement := protocol.VerificationPreferred
	if verified {
		requirement = protocol.VerificationRequired
	}
	c, err := rp.w.ValidateLogin(account(a), webauthn.SessionData{
		Challenge: challenge.text(), RelyingPartyID: rp.w.Config.RPID, UserID: a.ID[:], UserVerification: requirement,
	}, assertion.parsed)
	if err != nil {
		return Used{}, refused(err)
	}
	i := slices.IndexFunc(a.Passkeys, func(p store.Passkey) bool { return slices.Equal(p.CredentialID, c.ID) })
	if i < 0 {
		return Used{}, fmt.Errorf("%w: unknown credential", ErrResponse)
	}
	return Used{Passkey: i, SignCount: c.Authenticator.SignCount, BackedUp: c.Flags.BackupState, Cloned: c.Authenticator.CloneWarning}, nil
}

// ChallengeOf derives a challenge from the secret that stands for a ceremony:
// who has the one from a page's options does not have the other.
func ChallengeOf(secret []byte) Challenge {
	sum := sha256.Sum256(append([]byte("coditect webauthn challenge:"), secret...))
	return sum[:]
}

func encoded(options any) (json.RawMessage, error) {
	body, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("encoding options: %w", err)
	}
	return body, nil
}
