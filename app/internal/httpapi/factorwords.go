package httpapi

import (
	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/openapi"
)

const tagFactors = "Second factors"

// factorTag is the group of second factors.
var factorTag = openapi.Tag{
	Name: tagFactors,
	Doc: "Authenticator apps (TOTP), passkeys (WebAuthn) and recovery codes. What changes them needs a recent proof of who asks: " +
		"without one it is answered 401 `step_up_required`, and `POST /auth/step-up` gives ten minutes.",
}

// factorDescriptions are the words of the routes of second factors.
func factorDescriptions() map[string]about {
	const (
		validation = fault.ValidationFailed
		challenge  = fault.InvalidChallenge
		wrong      = fault.InvalidFactor
		attempts   = fault.TooManyAttempts
		stepUp     = fault.StepUpRequired
		exists     = fault.FactorExists
	)
	type codes = []fault.Code
	return map[string]about{
		"POST /auth/login/second-factor": {
			"finishLogin", tagAccount, "Sign in with the second factor",
			"Finishes a login that was answered with `second_factor`. Exactly one of `totp`, `recovery_code` and `passkey` is given. A wrong one leaves the challenge as it is, for five minutes in all; wrong codes of an app are slowed down.",
			codes{validation, challenge, wrong, attempts},
		},
		"POST /auth/login/passkey/options": {
			"passwordlessOptions", tagAccount, "Begin to sign in with a passkey alone",
			"`options` are for `navigator.credentials.get`, by way of `PublicKeyCredential.parseRequestOptionsFromJSON`.", nil,
		},
		"POST /auth/login/passkey": {
			"passkeyLogin", tagAccount, "Sign in with a passkey alone",
			"The passkey must have verified its user, by a PIN or a finger; then nothing else is asked for.",
			codes{validation, challenge, wrong},
		},
		"POST /auth/step-up/options": {
			"stepUpOptions", tagAccount, "Begin to prove again who asks, with a passkey", "", codes{fault.NotFound},
		},
		"POST /auth/step-up": {
			"stepUp", tagAccount, "Prove again who asks",
			"Takes what signing in would: the password and, of who has one, a second factor; or a passkey that has verified its user, with the challenge of its options.",
			codes{validation, challenge, attempts},
		},

		"GET /users/me/factors": {"getFactors", tagFactors, "List the caller's second factors", "", nil},
		"POST /users/me/factors/recovery-codes": {
			"newRecoveryCodes", tagFactors, "Replace the recovery codes",
			"The old ones stop working. Each of the new ones is good once; they are shown in this answer alone.",
			codes{stepUp, fault.NotFound},
		},
		"POST /users/me/factors/totp": {
			"beginTOTP", tagFactors, "Begin to add an authenticator app",
			"Show `uri` as a QR code. The app counts once it has shown a code, within five minutes.",
			codes{stepUp, exists},
		},
		"POST /users/me/factors/totp/verify": {
			"finishTOTP", tagFactors, "Add the authenticator app",
			"With the first second factor come the recovery codes.",
			codes{validation, challenge, exists},
		},
		"DELETE /users/me/factors/totp": {
			"removeTOTP", tagFactors, "Remove the authenticator app",
			"With the last second factor the recovery codes go too.",
			codes{stepUp, fault.NotFound},
		},
		"POST /users/me/factors/passkey-options": {
			"beginPasskey", tagFactors, "Begin to add a passkey",
			"`options` are for `navigator.credentials.create`, by way of `PublicKeyCredential.parseCreationOptionsFromJSON`.",
			codes{stepUp, fault.LimitReached},
		},
		"POST /users/me/factors/passkeys": {
			"addPasskey", tagFactors, "Add a passkey",
			"`passkey` is what `toJSON()` of the browser's credential gives. With the first second factor come the recovery codes.",
			codes{validation, challenge, exists, fault.LimitReached},
		},
		"PATCH /users/me/factors/passkeys/{id}":  {"renamePasskey", tagFactors, "Rename a passkey", "", codes{validation}},
		"DELETE /users/me/factors/passkeys/{id}": {"removePasskey", tagFactors, "Remove a passkey", "With the last second factor the recovery codes go too.", codes{stepUp}},
	}
}

// factorRequired are the members that those routes' requests must have.
func factorRequired() map[string][]string {
	return map[string][]string{
		"SecondFactorRequest":  {"challenge"},
		"PasskeyLoginRequest":  {"challenge", "passkey"},
		"VerifyTOTPRequest":    {"challenge", "code"},
		"AddPasskeyRequest":    {"challenge", "name", "passkey"},
		"RenamePasskeyRequest": {"name"},
	}
}

// factorMembers say what the members of those routes' bodies mean.
func factorMembers() map[string]openapi.Member {
	type schema = map[string]any
	const day = "2026-01-31T12:00:00Z"
	name := openapi.Member{Doc: "Tells it from others.", Schema: schema{"maxLength": 100}, Example: "blue key"}
	credential := openapi.Member{Doc: "The browser's credential, by its `toJSON()`.", Schema: schema{"type": "object"}}
	shown := credential
	shown.Example = schema{ // in form; it proves nothing
		"id": "AAAA", "rawId": "AAAA", "type": "public-key", "clientExtensionResults": schema{},
		"response": schema{
			"clientDataJSON":    "eyJ0eXBlIjoid2ViYXV0aG4uZ2V0IiwiY2hhbGxlbmdlIjoiIiwib3JpZ2luIjoiIn0",
			"authenticatorData": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAAAAAA", "signature": "AAAA", "userHandle": "AAAA",
		},
	}
	return map[string]openapi.Member{
		"challenge":                     {Doc: "Stands for what was begun; it is good once, for five minutes.", Example: "cdc_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
		"totp":                          {Doc: "What the authenticator app shows; each code is good once.", Example: "123456"},
		"recovery_code":                 {Doc: "One of the recovery codes; each is good once."},
		"SecondFactorRequest.passkey":   credential,
		"StepUpRequest.passkey":         credential,
		"PasskeyLoginRequest.passkey":   shown,
		"AddPasskeyRequest.passkey":     shown,
		"NewPasskey.passkey":            {},
		"VerifyTOTPRequest.code":        {Doc: "What the app shows.", Example: "123456"},
		"AddPasskeyRequest.name":        name,
		"RenamePasskeyRequest.name":     name,
		"Passkey.name":                  name,
		"second_factor":                 {Doc: "There instead of all else: the password was right, and a second factor is asked for."},
		"methods":                       {Doc: "Ways to prove who one is.", Schema: schema{"enum": []string{"password", "totp", "passkey", "recovery_code"}}},
		"options":                       {Doc: "For the browser's `navigator.credentials`.", Schema: schema{"type": "object"}},
		"SecondFactor.options":          {Doc: "For the browser's `navigator.credentials.get`; null without a passkey.", Schema: schema{"type": []string{"object", "null"}}},
		"proven_at":                     {Example: day},
		"until":                         {Doc: "When the proof is no longer recent.", Example: day},
		"totp_since":                    {Doc: "When the authenticator app was added; null without one.", Example: day},
		"passkeys":                      {},
		"factors":                       {Doc: "Second factors, without their secrets; null after the first page."},
		"recovery_codes_left":           {},
		"synced":                        {Doc: "It is backed up, so that losing a device does not lose it."},
		"Passkey.last_used_at":          {Doc: "Null before its first use.", Example: day},
		"suspected_at":                  {Doc: "When a copy of it was noticed, which ended its use; null while it is trusted.", Example: day},
		"secret":                        {Doc: "To type into the app; never shown again.", Example: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"},
		"uri":                           {Doc: "The same for a QR code (otpauth)."},
		"recovery_codes":                {Doc: "New recovery codes, shown this once; empty where the user has theirs."},
		"PasskeyLoginRequest.tenant_id": {Doc: "The tenant to sign in to; the user's own unless told.", Schema: schema{"format": "uuid"}},
	}
}
