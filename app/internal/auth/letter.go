package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/mail"
	"coditect.ai/platform/app/internal/store"
)

// LetterKind is what a letter asks its reader to do.
type LetterKind string

// The kinds.
const (
	LetterVerify LetterKind = "verify_email"
	LetterReset  LetterKind = "reset_password"
	LetterInvite LetterKind = "invitation"

	// Those that tell of what was done and ask for nothing.
	letterPassword LetterKind = "password_changed"
	letterFactors  LetterKind = "factors_changed"
)

// notices are what letters say that bring no token.
var notices = map[LetterKind]struct{ subject, text string }{
	letterPassword: {"Your password was changed", "The password of your account was changed, and every other device was signed out.\n\n" + ifNotYou},
	letterFactors:  {"Your sign-in methods were changed", "An authenticator app, a passkey or the recovery codes of your account were added, replaced or removed.\n\n" + ifNotYou},
}

const ifNotYou = "If it was not you, reset your password at once, and look through your devices and sign-in methods.\n"

// How long what a letter brings is good for.
const (
	verifyTTL = 7 * 24 * time.Hour
	resetTTL  = time.Hour
	noticeTTL = 7 * 24 * time.Hour
)

const (
	mailUse    = "mailed tokens"
	mailPrefix = "cdm_" // makes a token that leaked recognizable
	seedBytes  = 16
)

// ErrMailedToken answers a token that was never mailed, was used, or has expired.
var ErrMailedToken = fault.New(fault.InvalidMailedToken, "The link is not valid: it was used, has expired or was replaced; ask for a new one.")

// NewLetter makes a letter and the hash of the token that it brings. The token
// itself is nowhere: who sends the letter derives it anew. It is good for ttl
// from now.
func (s *Service) NewLetter(kind LetterKind, userID uuid.UUID, to string, ttl time.Duration) (store.Letter, store.TokenHash, error) {
	id, err := newID()
	if err != nil {
		return store.Letter{}, store.TokenHash{}, err
	}
	l := store.Letter{
		ID: id, Kind: string(kind), UserID: userID, To: to,
		Seed: random(seedBytes), KeyID: s.mailSecrets[0].ID, ExpiresAt: s.now().UTC().Truncate(time.Millisecond).Add(ttl),
	}
	return l, sha256.Sum256(mailedToken(s.mailSecrets[0], l)), nil
}

// notice makes a letter that tells a user of what was done. Its user and
// address are filled in by the transaction.
func (s *Service) notice(kind LetterKind) (store.Letter, error) {
	l, _, err := s.NewLetter(kind, uuid.Nil, "", noticeTTL)
	return l, err
}

// tell puts a notice to a user into the outbox.
func tell(tx *store.Tx, notice store.Letter, user store.User) {
	notice.UserID, notice.To = user.ID, user.Email
	tx.PutLetter(notice)
}

func mailedToken(secret Secret, l store.Letter) []byte {
	mac := hmac.New(sha256.New, secret.Value)
	mac.Write([]byte(l.Kind))
	mac.Write(l.Seed)
	return mac.Sum(nil)
}

// MailedTokenHash returns the hash of a token as its reader sends it.
func MailedTokenHash(text string) (store.TokenHash, error) {
	body, ok := strings.CutPrefix(text, mailPrefix)
	if !ok || len(body) != base64.RawURLEncoding.EncodedLen(sha256.Size) || strings.ContainsAny(body, "\r\n") {
		return store.TokenHash{}, ErrMailedToken.Because(errors.New("not the form of a mailed token"))
	}
	token, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil {
		return store.TokenHash{}, ErrMailedToken.Because(err)
	}
	return sha256.Sum256(token), nil
}

// Pace of the outbox.
const (
	letterBatch = 5
	letterTries = 10
	letterPause = 3 * time.Minute // before the second try, then doubled; longer than a batch takes
	letterRest  = time.Hour       // the longest pause
)

func pauseBefore(tries int) time.Duration {
	return min(letterRest, letterPause<<min(tries-1, 10))
}

// Delivered is what became of some letters.
type Delivered struct{ Sent, Failed, Dropped int }

// Deliver sends some of the letters that are due, and reports why others could
// not be sent: they are tried again, at growing intervals, by whichever replica
// comes first. A letter may so arrive twice, and is never lost before its last try.
func (s *Service) Deliver(ctx context.Context, sender mail.Sender) (Delivered, error) {
	letters, err := s.store.TakeLetters(ctx, letterBatch, letterTries, pauseBefore)
	if err != nil {
		return Delivered{}, err
	}
	var (
		done   Delivered
		faults []error
	)
	for _, l := range letters {
		if l.Due.IsZero() {
			if l.To != "" {
				done.Dropped++
			}
			continue
		}
		m, wanted, err := s.compose(ctx, l)
		if err == nil && wanted {
			err = sender.Send(ctx, m)
		}
		if err != nil {
			done.Failed++
			faults = append(faults, fmt.Errorf("letter %s, try %d: %w", l.ID, l.Tries, err))
			continue
		}
		if wanted {
			done.Sent++
		}
		if err := s.store.Update(ctx, func(tx *store.Tx) error { tx.DeleteLetter(l); return nil }); err != nil {
			faults = append(faults, fmt.Errorf("letter %s was dealt with and may be again: %w", l.ID, err))
		}
	}
	return done, errors.Join(faults...)
}

// compose writes the message of a letter. One to nobody is not wanted, nor one
// whose token is no longer good for anything.
func (s *Service) compose(ctx context.Context, l store.Letter) (m mail.Message, wanted bool, err error) {
	if l.To == "" {
		return mail.Message{}, false, nil
	}
	var token []byte
	for _, secret := range s.mailSecrets {
		if secret.ID == l.KeyID {
			token = mailedToken(secret, l)
		}
	}
	if _, notice := notices[LetterKind(l.Kind)]; token == nil && !notice {
		return mail.Message{}, false, nil // its key was taken out of use, and with it what it would bring
	}
	hash := store.TokenHash(sha256.Sum256(token))
	err = s.store.View(ctx, func(r *store.Reader) error {
		var err error
		switch LetterKind(l.Kind) {
		case letterPassword, letterFactors:
			_, err = r.User(l.UserID)
		case LetterInvite:
			_, err = r.InvitationByToken(hash)
		case LetterVerify:
			_, err = r.OneTimeToken(hash, store.PurposeVerify)
		default:
			_, err = r.OneTimeToken(hash, store.PurposeReset)
		}
		if wanted = err == nil; errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil || !wanted {
		return mail.Message{}, false, err
	}
	return s.message(l, mailPrefix+base64.RawURLEncoding.EncodeToString(token)), true, nil
}

// message is what a letter says. What people have called things is quoted and
// stands on a line of its own, so that it cannot pass for our words.
func (s *Service) message(l store.Letter, token string) mail.Message {
	m := mail.Message{ID: l.ID.String(), To: l.To}
	if n, ok := notices[LetterKind(l.Kind)]; ok {
		m.Subject, m.Text = n.subject, n.text
		return m
	}
	link := func(page string) string { return s.cfg.LinkBase + page + "#token=" + url.QueryEscape(token) }
	until := "The link works once, until " + l.ExpiresAt.UTC().Format("2 January 2006, 15:04 MST") + ".\n"
	switch LetterKind(l.Kind) {
	case LetterVerify:
		m.Subject = "Confirm your email address"
		m.Text = "Welcome to Coditect.\n\nConfirm that this address is yours:\n" + link("/verify-email") + "\n\n" + until +
			"If you did not register, ignore this mail.\n"
	case LetterInvite:
		m.Subject = "You are invited to a team on Coditect"
		m.Text = "You are invited to become a member of:\n\n    \"" + l.TenantName + "\"\n\nSign in, or register, with this address and accept:\n" +
			link("/accept-invitation") + "\n\n" + until + "If you do not know this team, ignore this mail.\n"
	default:
		m.Subject = "Reset your password"
		m.Text = "Somebody, probably you, asked to reset the password of your account:\n" + link("/reset-password") + "\n\n" + until +
			"If it was not you, ignore this mail: your password stays as it is.\n"
	}
	return m
}
