package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/auth"
)

// SecondFactorRequest is the body of POST /auth/login/second-factor. Of totp,
// recovery_code and passkey exactly one is there.
type SecondFactorRequest struct {
	Challenge    string         `json:"challenge"`
	TOTP         string         `json:"totp"`
	RecoveryCode string         `json:"recovery_code"`
	Passkey      jsontext.Value `json:"passkey"` // an object: the credential that a browser gave, as JSON
}

// PasskeyLoginRequest is the body of POST /auth/login/passkey.
type PasskeyLoginRequest struct {
	Challenge string         `json:"challenge"`
	Passkey   jsontext.Value `json:"passkey"` // an object: the credential that a browser gave, as JSON
	TenantID  string         `json:"tenant_id"`
	Device    string         `json:"device"`
}

// StepUpRequest is the body of POST /auth/step-up: what signing in would take.
type StepUpRequest struct {
	Password     string         `json:"password"`
	TOTP         string         `json:"totp"`
	RecoveryCode string         `json:"recovery_code"`
	Challenge    string         `json:"challenge"`
	Passkey      jsontext.Value `json:"passkey"` // an object: the credential that a browser gave, as JSON
}

// VerifyTOTPRequest is the body of POST /users/me/factors/totp/verify.
type VerifyTOTPRequest struct {
	Challenge string `json:"challenge"`
	Code      string `json:"code"`
}

// AddPasskeyRequest is the body of POST /users/me/factors/passkeys.
type AddPasskeyRequest struct {
	Challenge string         `json:"challenge"`
	Name      string         `json:"name"`
	Passkey   jsontext.Value `json:"passkey"` // an object: the credential that a browser made, as JSON
}

// RenamePasskeyRequest is the body of PATCH /users/me/factors/passkeys/{id}.
type RenamePasskeyRequest struct {
	Name string `json:"name"`
}

// LoggedIn answers a login: with everything of SignedIn, or with second_factor alone.
type LoggedIn struct {
	User         *User         `json:"user,omitempty"`
	TenantID     *uuid.UUID    `json:"tenant_id,omitempty"` // of the tokens
	Tenants      []Tenant      `json:"tenants,omitempty"`
	Tokens       *Tokens       `json:"tokens,omitempty"`
	SecondFactor *SecondFactor `json:"second_factor,omitempty"`
}

// SecondFactor is what is asked for beside the password.
type SecondFactor struct {
	Challenge string         `json:"challenge"`
	ExpiresAt time.Time      `json:"expires_at"`
	Methods   []string       `json:"methods"` // totp, passkey, recovery_code
	Options   jsontext.Value `json:"options"` // for navigator.credentials.get; null without a passkey
}

// Ceremony is a proof by passkey that a browser is asked for.
type Ceremony struct {
	Challenge string         `json:"challenge"`
	ExpiresAt time.Time      `json:"expires_at"`
	Options   jsontext.Value `json:"options"` // for navigator.credentials
}

// Proven says until when this login may do what asks for a recent proof.
type Proven struct {
	Methods  []string  `json:"methods"` // password, totp, recovery_code, passkey
	ProvenAt time.Time `json:"proven_at"`
	Until    time.Time `json:"until"`
}

// Factors are a user's second factors.
type Factors struct {
	TOTPSince         *time.Time `json:"totp_since"` // null without an authenticator app
	Passkeys          []Passkey  `json:"passkeys"`
	RecoveryCodesLeft int        `json:"recovery_codes_left"`
}

// Passkey is one passkey of a user.
type Passkey struct {
	ID          uuid.UUID  `json:"id"`
	Name        string     `json:"name"`
	Synced      bool       `json:"synced"` // backed up: losing a device does not lose it
	CreatedAt   time.Time  `json:"created_at"`
	LastUsedAt  *time.Time `json:"last_used_at"` // null before its first use
	SuspectedAt *time.Time `json:"suspected_at"` // when a copy of it was noticed, which ended its use; null while it is trusted
}

// NewTOTP is an authenticator app that is being added.
type NewTOTP struct {
	Challenge string    `json:"challenge"`
	ExpiresAt time.Time `json:"expires_at"`
	Secret    string    `json:"secret"` // to type; never shown again
	URI       string    `json:"uri"`    // to scan, as a QR code
}

// RecoveryCodes are new recovery codes, which are shown this once.
type RecoveryCodes struct {
	RecoveryCodes []string `json:"recovery_codes"` // empty where the user has had theirs before
}

// NewPasskey answers the addition of a passkey.
type NewPasskey struct {
	Passkey       Passkey  `json:"passkey"`
	RecoveryCodes []string `json:"recovery_codes"` // with the first factor; never shown again
}

// factorRoutes are the rows of the route table about second factors.
func factorRoutes() []Route {
	const factors, passkeys = contract.BasePath + "/users/me/factors", contract.BasePath + "/users/me/factors/passkeys"
	const login, stepUp = contract.BasePath + "/auth/login", contract.BasePath + "/auth/step-up"
	get, post, patch, del := http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	return []Route{
		takes(Route{Method: post, Path: login + "/second-factor", Status: http.StatusOK}, finishLogin),
		answers(Route{Method: post, Path: login + "/passkey/options", Status: http.StatusOK}, passwordlessOptions),
		takes(Route{Method: post, Path: login + "/passkey", Status: http.StatusOK}, passkeyLogin),

		answers(Route{Method: post, Path: stepUp + "/options", SignedIn: true, Status: http.StatusOK}, stepUpOptions),
		takes(Route{Method: post, Path: stepUp, SignedIn: true, Status: http.StatusOK}, stepUpNow),

		answers(Route{Method: get, Path: factors, SignedIn: true, Status: http.StatusOK}, getFactors),
		answers(Route{Method: post, Path: factors + "/recovery-codes", SignedIn: true, Status: http.StatusCreated}, newRecoveryCodes),
		answers(Route{Method: post, Path: factors + "/totp", SignedIn: true, Status: http.StatusOK}, beginTOTP),
		answers(Route{Method: del, Path: factors + "/totp", SignedIn: true, Status: http.StatusOK}, removeTOTP),
		takes(Route{Method: post, Path: factors + "/totp/verify", SignedIn: true, Status: http.StatusCreated}, finishTOTP),
		answers(Route{Method: post, Path: factors + "/passkey-options", SignedIn: true, Status: http.StatusOK}, beginPasskey),
		takes(Route{Method: post, Path: passkeys, SignedIn: true, Status: http.StatusCreated}, finishPasskey),
		takes(Route{Method: patch, Path: passkeys + "/{id}", SignedIn: true, Status: http.StatusOK}, renamePasskey),
		answers(Route{Method: del, Path: passkeys + "/{id}", SignedIn: true, Status: http.StatusOK}, removePasskey),
	}
}

func loggedIn(done auth.SignedIn) LoggedIn {
	if ask := done.SecondFactor; ask != nil {
		return LoggedIn{SecondFactor: &SecondFactor{
			Challenge: ask.Challenge, ExpiresAt: ask.ExpiresAt, Methods: ask.Methods, Options: jsontext.Value(ask.Options),
		}}
	}
	s := signedIn(done)
	return LoggedIn{User: &s.User, TenantID: &s.TenantID, Tenants: s.Tenants, Tokens: &s.Tokens}
}

// credential is a browser's answer as it came; null is an absent member.
func credential(v jsontext.Value) json.RawMessage {
	if v.Kind() == 'n' {
		return nil
	}
	return json.RawMessage(v)
}

func finishLogin(ctx context.Context, c *call, in SecondFactorRequest) (SignedIn, error) {
	done, err := c.backend.Auth.FinishLogin(ctx, auth.SecondFactorForm{
		Challenge: in.Challenge, Address: c.address(),
		Proof: auth.FactorProof{TOTP: in.TOTP, RecoveryCode: in.RecoveryCode, Passkey: credential(in.Passkey)},
	})
	return signedIn(done), err
}

func passwordlessOptions(ctx context.Context, c *call) (Ceremony, error) {
	begun, err := c.backend.Auth.PasswordlessOptions(ctx)
	return ceremony(begun), err
}

func passkeyLogin(ctx context.Context, c *call, in PasskeyLoginRequest) (SignedIn, error) {
	done, err := c.backend.Auth.PasskeyLogin(ctx, auth.PasskeyForm{
		Challenge: in.Challenge, Passkey: credential(in.Passkey), TenantID: in.TenantID, Device: in.Device, Address: c.address(),
	})
	return signedIn(done), err
}

func stepUpOptions(ctx context.Context, c *call) (Ceremony, error) {
	begun, err := c.backend.Auth.StepUpOptions(ctx, c.access)
	return ceremony(begun), err
}

func stepUpNow(ctx context.Context, c *call, in StepUpRequest) (Proven, error) {
	done, err := c.backend.Auth.StepUp(ctx, c.access, auth.StepUpForm{
		Password: in.Password, Challenge: in.Challenge, Address: c.address(),
		Proof: auth.FactorProof{TOTP: in.TOTP, RecoveryCode: in.RecoveryCode, Passkey: credential(in.Passkey)},
	})
	return Proven{Methods: done.Methods, ProvenAt: done.At, Until: done.Until}, err
}

func getFactors(ctx context.Context, c *call) (Factors, error) {
	found, err := c.backend.Auth.Factors(ctx, c.access)
	return factorsView(found), err
}

func factorsView(f auth.Factors) Factors {
	view := Factors{TOTPSince: unlessZero(f.TOTPSince), Passkeys: make([]Passkey, 0, len(f.Passkeys)), RecoveryCodesLeft: f.RecoveryCodesLeft}
	for _, p := range f.Passkeys {
		view.Passkeys = append(view.Passkeys, passkeyView(p))
	}
	return view
}

func newRecoveryCodes(ctx context.Context, c *call) (RecoveryCodes, error) {
	fresh, err := c.backend.Auth.NewRecoveryCodes(ctx, c.access)
	return RecoveryCodes{RecoveryCodes: fresh.Codes}, err
}

func beginTOTP(ctx context.Context, c *call) (NewTOTP, error) {
	begun, err := c.backend.Auth.BeginTOTP(ctx, c.access)
	return NewTOTP(begun), err
}

func finishTOTP(ctx context.Context, c *call, in VerifyTOTPRequest) (RecoveryCodes, error) {
	shown, err := c.backend.Auth.FinishTOTP(ctx, c.access, in.Challenge, in.Code)
	return RecoveryCodes{RecoveryCodes: shown.Codes}, err
}

func removeTOTP(ctx context.Context, c *call) (Done, error) {
	return Done{true}, c.backend.Auth.RemoveTOTP(ctx, c.access)
}

func beginPasskey(ctx context.Context, c *call) (Ceremony, error) {
	begun, err := c.backend.Auth.BeginPasskey(ctx, c.access)
	return ceremony(begun), err
}

func finishPasskey(ctx context.Context, c *call, in AddPasskeyRequest) (NewPasskey, error) {
	made, shown, err := c.backend.Auth.FinishPasskey(ctx, c.access, auth.NewPasskey{
		Challenge: in.Challenge, Name: in.Name, Response: credential(in.Passkey),
	})
	return NewPasskey{Passkey: passkeyView(made), RecoveryCodes: shown.Codes}, err
}

func renamePasskey(ctx context.Context, c *call, in RenamePasskeyRequest) (Passkey, error) {
	renamed, err := c.backend.Auth.RenamePasskey(ctx, c.access, c.pathID, in.Name)
	return passkeyView(renamed), err
}

func removePasskey(ctx context.Context, c *call) (Deleted, error) {
	return Deleted{ID: c.pathID, Deleted: true}, c.backend.Auth.RemovePasskey(ctx, c.access, c.pathID)
}

func ceremony(c auth.Ceremony) Ceremony {
	return Ceremony{Challenge: c.Challenge, ExpiresAt: c.ExpiresAt, Options: jsontext.Value(c.Options)}
}

func passkeyView(p auth.Passkey) Passkey {
	return Passkey{
		ID: p.ID, Name: p.Name, Synced: p.Synced, CreatedAt: p.CreatedAt,
		LastUsedAt: unlessZero(p.LastUsedAt), SuspectedAt: unlessZero(p.SuspectedAt),
	}
}

func unlessZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
