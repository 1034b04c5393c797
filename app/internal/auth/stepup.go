package auth

import (
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
