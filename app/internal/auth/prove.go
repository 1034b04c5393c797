package auth

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/factor"
	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
)

// FactorProof is the proof of a second factor. Exactly one member is set.
type FactorProof struct {
	TOTP         string          // what the authenticator app shows
	RecoveryCode string          // one of those that were shown once
	Passkey      json.RawMessage // what navigator.credentials.get gave, as JSON
}

// errFactor answers every proof that does not hold: why is for the log.
var errFactor = fault.New(fault.InvalidFactor, "The second factor is wrong or was used already; try another code or passkey.")

// factorTry is one try to prove a second factor, made outside of its transaction.
type factorTry struct {
	id        uuid.UUID
	proof     FactorProof
	assertion factor.Assertion // of proof.Passkey
	challenge factor.Challenge // that it answers
	verified  bool             // the authenticator must have verified its user
}

func newTry(p FactorProof) (factorTry, error) {
	given := 0
	for _, is := range []bool{p.TOTP != "", p.RecoveryCode != "", len(p.Passkey) > 0} {
		if is {
			given++
		}
	}
	if given != 1 {
		return factorTry{}, fault.Invalid(fault.Field{Field: "totp", Problem: "must be given, or else recovery_code or passkey, and just one of them"})
	}
	id, err := newID()
	if err != nil {
		return factorTry{}, err
	}
	try := factorTry{id: id, proof: p}
	if len(p.Passkey) > 0 {
		if try.assertion, err = factor.ParseAssertion(p.Passkey); err != nil {
			return factorTry{}, errFactor.Because(err)
		}
	}
	return try, nil
}

// prove checks a try against the user's factors and writes what it changes of
// them: what is used up, and what was wrong. So a refusal, which is for the
// client, is no error of the transaction: it commits.
func (s *Service) prove(tx *store.Tx, user store.User, f store.Factors, try factorTry) (method string, refusal *fault.Error, err error) {
	switch {
	case try.proof.TOTP != "":
		refusal, err = s.proveTOTP(tx, f, try)
		return methodTOTP, refusal, err
	case try.proof.RecoveryCode != "":
		return methodRecovery, proveRecovery(tx, f, try), nil
	default:
		return methodPasskey, s.provePasskey(tx, user, f, try), nil
	}
}

// Wrong codes of an authenticator app are few digits' guesses: after the first
// in a row each asks for a pause, twice as long as the one before. Passkeys and
// recovery codes cannot be guessed and have no pause, so that guesses by others
// keep nobody out who has one.
const (
	freeFailures = 4
	firstPause   = 5 * time.Second
	longestPause = 15 * time.Minute
)

func pauseAfter(failures int) time.Duration {
	pause := time.Duration(0)
	for range failures - freeFailures {
		if pause = max(firstPause, 2*pause); pause >= longestPause {
			return longestPause
		}
	}
	return pause
}

func (s *Service) proveTOTP(tx *store.Tx, f store.Factors, try factorTry) (*fault.Error, error) {
	if f.TOTP == nil {
		return errFactor.Because(errors.New("no authenticator app")), nil
	}
	if f.Failed.Last == try.id { // an earlier run counted it
		return errFactor, nil
	}
	if wait := f.Failed.Until.Sub(tx.Now()); wait > 0 {
		return &fault.Error{Code: fault.TooManyAttempts, Message: "Too many wrong codes; wait, or use a passkey or a recovery code.", RetryAfter: wait}, nil
	}
	secret, err := s.sealer.Open(f.TOTP.Sealed, totpPlace(f.UserID))
	if err != nil {
		return nil, fmt.Errorf("the authenticator app of user %s: %w", f.UserID, err)
	}
	step, ok := factor.MatchTOTP(secret, try.proof.TOTP, tx.Now(), f.TOTP.LastStep)
	if !ok {
		f.Failed.Count++
		f.Failed.Until, f.Failed.Last = tx.Now().Add(pauseAfter(f.Failed.Count)), try.id
		tx.PutFactors(f)
		return errFactor.Because(fmt.Errorf("wrong or used code, %d in a row", f.Failed.Count)), nil
	}
	used := *f.TOTP
	used.LastStep = step
	if !s.sealer.Current(used.Sealed) {
		used.Sealed = s.sealer.Seal(secret, totpPlace(f.UserID))
	}
	f.TOTP, f.Failed = &used, store.Failed{}
	tx.PutFactors(f)
	return nil, nil
}

// totpPlace is where a secret may be opened: moved to another user it is of no use.
func totpPlace(userID uuid.UUID) []byte { return append([]byte("totp:"), userID[:]...) }

func proveRecovery(tx *store.Tx, f store.Factors, try factorTry) *fault.Error {
	hash, ok := factor.RecoveryHash(f.UserID, try.proof.RecoveryCode)
	at := slices.IndexFunc(f.Recovery, func(left store.TokenHash) bool {
		return subtle.ConstantTimeCompare(left[:], hash[:]) == 1
	})
	if !ok || at < 0 {
		return errFactor.Because(errors.New("wrong or used recovery code"))
	}
	f.Recovery = slices.Delete(slices.Clone(f.Recovery), at, at+1)
	tx.PutFactors(f)
	Record(tx, SelfTenantID(f.UserID), f.UserID, actRecoveryUsed, f.UserID)
	return nil
}

// trusted returns f with the passkeys alone that may still prove something.
func trusted(f store.Factors) store.Factors {
	f.Passkeys = slices.DeleteFunc(slices.Clone(f.Passkeys), func(p store.Passkey) bool { return !p.SuspectedAt.IsZero() })
	return f
}

func (s *Service) provePasskey(tx *store.Tx, user store.User, f store.Factors, try factorTry) *fault.Error {
	used, err := s.passkeys.Check(account(user, f), try.challenge, try.assertion, try.verified)
	if err != nil {
		return errFactor.Because(err)
	}
	f.Passkeys = slices.Clone(f.Passkeys)
	p := &f.Passkeys[used.Passkey]
	switch {
	case !p.SuspectedAt.IsZero():
		return errFactor.Because(fmt.Errorf("passkey %s is suspected of being cloned", p.ID))
	case used.Cloned:
		p.SuspectedAt = tx.Now()
		tx.PutFactors(f)
		Record(tx, SelfTenantID(f.UserID), f.UserID, actFactorSuspected, p.ID)
		return errFactor.Because(fmt.Errorf("the counter of passkey %s went back: it may be cloned, and is trusted no more", p.ID))
	}
	p.SignCount, p.BackedUp, p.LastUsedAt = used.SignCount, used.BackedUp, tx.Now()
	tx.PutFactors(f)
	return nil
}
