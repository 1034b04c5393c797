package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
)

// forgotPause is how often one address gets a letter to reset its password.
const forgotPause = time.Minute

// ForgotPassword mails a token that resets the password, if there is a user
// with the address. Whether there is one makes no difference to the answer, nor
// to what is read and written: for an unknown address a letter to nobody is
// kept and dropped. from is where the request came from.
func (s *Service) ForgotPassword(ctx context.Context, address, from string) error {
	email, err := normalEmail(address)
	if err != nil {
		return fault.Invalid(fault.Field{Field: "email", Problem: err.Error()})
	}
	nobody, err := newID()
	if err != nil {
		return err
	}
	letter, hash, err := s.NewLetter(LetterReset, nobody, email, resetTTL)
	if err != nil {
		return err
	}
	lately := limit{name: "forgot"}.hash(email)
	mails := mailLimit.hash(addressSubject(from))
	return s.store.Update(ctx, func(tx *store.Tx) error {
		token := store.OneTimeToken{Hash: hash, UserID: nobody, Purpose: store.PurposeReset, ExpiresAt: letter.ExpiresAt}
		if tx.Again() {
			if _, err := tx.OneTimeToken(hash, store.PurposeReset); !errors.Is(err, store.ErrNotFound) {
				return err // nil: an earlier run did it
			}
		}
		user, known, err := lookUp(tx.Reader, email)
		if err != nil {
			return err
		}
		asked, err := tx.Throttle(mails)
		if err != nil {
			return fmt.Errorf("reading the address's throttle: %w", err)
		}
		if wait := mailLimit.wait(asked, tx.Now()); wait > 0 {
			return errTooMany(wait)
		}
		mailLimit.count(tx, asked, nobody)
		pause, err := tx.Throttle(lately)
		if err != nil {
			return fmt.Errorf("reading the mail's throttle: %w", err)
		}
		if pause.Until.After(tx.Now()) {
			return nil
		}
		pause.Until = tx.Now().Add(forgotPause)
		pause.ExpiresAt = pause.Until
		tx.PutThrottle(pause)
		out := letter
		if known {
			token.UserID, token.Epoch, out.UserID = user.ID, user.LoginEpoch, user.ID
		} else {
			out.To = ""
		}
		tx.PutOneTimeToken(token)
		tx.PutLetter(out)
		return nil
	})
}

// lookUp returns the user with an address in its normal form; where there is
// none it reads as much.
func lookUp(r *store.Reader, email string) (user store.User, known bool, err error) {
	id, err := r.UserIDByEmail(email)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.User{}, false, fmt.Errorf("looking up the address: %w", err)
	}
	user, err = r.User(id)
	if err != nil && (id != uuid.Nil || !errors.Is(err, store.ErrNotFound)) {
		return store.User{}, false, fmt.Errorf("reading the user: %w", err)
	}
	return user, err == nil, nil
}

// ResetPassword gives the user of a mailed token a new password and revokes
// every login. Who has the token has read the user's mail, so the address is
// verified too. Was it not before, then nobody knows who made the account, and
// the second factors that somebody left there, to come back by or to keep its
// owner out with, are removed.
func (s *Service) ResetPassword(ctx context.Context, token, password string) error {
	if problem := passwordProblem(password); problem != "" {
		return fault.Invalid(fault.Field{Field: "password", Problem: problem})
	}
	hash, err := MailedTokenHash(token)
	if err != nil {
		return err
	}
	if err := s.store.View(ctx, func(r *store.Reader) error { // a hash is worth a look first
		_, _, err := mailedUser(r, hash, store.PurposeReset)
		return err
	}); err != nil {
		return err
	}
	notice, err := s.notice(letterPassword)
	if err != nil {
		return err
	}
	var made phc
	if err := s.gate.run(ctx, func() { made = s.cfg.Password.hash(password) }); err != nil {
		return err
	}
	done := uuid.Nil // the user of an earlier run, whose commit may have taken effect
	return s.store.Update(ctx, func(tx *store.Tx) error {
		record, user, err := mailedUser(tx.Reader, hash, store.PurposeReset)
		if done != uuid.Nil && fault.CodeOf(err) == fault.InvalidMailedToken {
			if now, err := tx.User(done); err == nil && now.PasswordHash == made.String() {
				return nil
			}
		}
		if err != nil {
			return err
		}
		done = user.ID
		tx.DeleteOneTimeToken(record)
		if !user.EmailVerified {
			factors, err := tx.Factors(user.ID)
			if err != nil {
				return fmt.Errorf("reading the second factors: %w", err)
			}
			if factors.Any() {
				tx.DeleteFactors(factors)
				Record(tx, SelfTenantID(user.ID), user.ID, actFactorRemoved, user.ID, "kind", "all")
			}
		}
		user.PasswordHash, user.EmailVerified = made.String(), true
		throttle, err := tx.Throttle(accountLimit.hash(user.Email))
		if err != nil {
			return fmt.Errorf("reading the account's throttle: %w", err)
		}
		tx.DeleteThrottle(throttle)
		Record(tx, SelfTenantID(user.ID), user.ID, actPasswordReset, user.ID)
		tell(tx, notice, user)
		return revokeAll(tx, user)
	})
}

// mailedUser returns what a mailed token is good for, or ErrMailedToken.
func mailedUser(r *store.Reader, hash store.TokenHash, purpose store.Purpose) (store.OneTimeToken, store.User, error) {
	token, err := r.OneTimeToken(hash, purpose)
	if errors.Is(err, store.ErrNotFound) {
		return store.OneTimeToken{}, store.User{}, ErrMailedToken.Because(err)
	}
	if err != nil {
		return store.OneTimeToken{}, store.User{}, fmt.Errorf("reading a mailed token: %w", err)
	}
	user, err := r.User(token.UserID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.OneTimeToken{}, store.User{}, ErrMailedToken.Because(err)
	case err != nil:
		return store.OneTimeToken{}, store.User{}, fmt.Errorf("reading the user: %w", err)
	case purpose == store.PurposeReset && token.Epoch != user.LoginEpoch:
		return store.OneTimeToken{}, store.User{}, ErrMailedToken.Because(errors.New("the password was changed since"))
	}
	return token, user, nil
}

// VerifyEmail marks the address that a token was mailed to as verified.
func (s *Service) VerifyEmail(ctx context.Context, token string) error {
	hash, err := MailedTokenHash(token)
	if err != nil {
		return err
	}
	seen := false // by an earlier run, whose commit may have taken effect
	return s.store.Update(ctx, func(tx *store.Tx) error {
		record, user, err := mailedUser(tx.Reader, hash, store.PurposeVerify)
		if seen && fault.CodeOf(err) == fault.InvalidMailedToken {
			return nil
		}
		if err != nil {
			return err
		}
		seen = true
		tx.DeleteOneTimeToken(record)
		user.EmailVerified, user.UpdatedAt = true, tx.Now()
		tx.UpdateUser(user)
		Record(tx, SelfTenantID(user.ID), user.ID, actVerified, user.ID)
		return nil
	})
}
