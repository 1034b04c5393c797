package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
)

// limit says how failures slow further tries down: free of them do not, each
// that follows doubles the delay from a second to the longest. All is forgotten
// when memory has passed without a failure.
type limit struct {
	name            string
	free            int
	longest, memory time.Duration
}

// The limits. An account's delay is short, so that whoever guesses cannot shut
// its owner out for long; that of an address is long, since many accounts may be
// tried from one. Asking for mail counts like a failure, right or wrong.
var (
	accountLimit = limit{"account", 5, time.Minute, time.Hour}
	addressLimit = limit{"address", 20, 15 * time.Minute, 24 * time.Hour}
	mailLimit    = limit{"mail", 10, 15 * time.Minute, 24 * time.Hour}
)

func (l limit) hash(subject string) store.TokenHash {
	return store.HashOf([]byte(l.name), []byte(subject))
}

// wait is how long th asks to wait.
func (limit) wait(th store.Throttle, now time.Time) time.Duration { return max(0, th.Until.Sub(now)) }

// slowed reports whether a try must be counted before it is made, so that of
// many at the same time one gets through.
func (l limit) slowed(th store.Throttle) bool { return th.Failures >= l.free }

// count counts a try, unless an earlier run of the transaction did.
func (l limit) count(tx *store.Tx, th store.Throttle, try uuid.UUID) {
	if th.Last == try {
		return
	}
	th.Failures++
	th.Last = try
	if over := th.Failures - l.free; over >= 0 {
		th.Until = tx.Now().Add(min(l.longest, time.Second<<min(over, 20)))
	}
	th.ExpiresAt = tx.Now().Add(l.memory)
	tx.PutThrottle(th)
}

func errTooMany(wait time.Duration) error {
	return &fault.Error{Code: fault.TooManyAttempts, Message: "Too many failed attempts; wait before you try again.", RetryAfter: wait}
}

// addressSubject is who an address stands for: an IPv6 customer has a whole /64.
func addressSubject(address string) string {
	if ip, err := netip.ParseAddr(address); err == nil && ip.Is6() && !ip.Is4In6() {
		if p, err := ip.WithZone("").Prefix(64); err == nil {
			return p.String()
		}
	}
	return address
}

// attempt is one try of a password.
type attempt struct {
	id                       uuid.UUID
	accountHash, addressHash store.TokenHash
	from                     string
	account, address         store.Throttle // as they were read
	familiar                 bool           // the account's owner signed in from there before
	counted                  bool           // as a failure, before its outcome is known
}

func newAttempt(email, address string) *attempt {
	return &attempt{id: uuid.New(), accountHash: accountLimit.hash(email), addressHash: addressLimit.hash(addressSubject(address)), from: address}
}

// familiarLogins bounds the logins whose addresses are familiar.
const familiarLogins = 20

// read takes up what earlier tries have left. Where an account is slowed down,
// the addresses that its owner is signed in from are not, so that somebody
// else's guesses never shut them out there.
func (t *attempt) read(r *store.Reader, userID uuid.UUID) (err error) {
	if t.account, err = r.Throttle(t.accountHash); err != nil {
		return fmt.Errorf("reading the account's throttle: %w", err)
	}
	if t.address, err = r.Throttle(t.addressHash); err != nil {
		return fmt.Errorf("reading the address's throttle: %w", err)
	}
	if accountLimit.slowed(t.account) && userID != uuid.Nil {
		logins, _, err := r.Logins(userID, uuid.Nil, familiarLogins)
		if err != nil {
			return fmt.Errorf("listing the logins: %w", err)
		}
		for _, l := range logins {
			t.familiar = t.familiar || t.from != "" && l.Address == t.from
		}
	}
	return nil
}

func (t *attempt) refused(now time.Time) error {
	wait := addressLimit.wait(t.address, now)
	if !t.familiar {
		wait = max(wait, accountLimit.wait(t.account, now))
	}
	if wait > 0 {
		return errTooMany(wait)
	}
	return nil
}

// admit lets a try that was read go ahead, or returns fault.TooManyAttempts.
func (s *Service) admit(ctx context.Context, t *attempt) error {
	if err := t.refused(s.now()); err != nil {
		return err
	}
	if !accountLimit.slowed(t.account) && !addressLimit.slowed(t.address) {
		return nil
	}
	t.counted = true
	return s.store.Update(ctx, func(tx *store.Tx) error {
		if err := t.read(tx.Reader, uuid.Nil); err != nil {
			return err
		}
		if t.account.Last != t.id { // else an earlier run has counted this very try
			if err := t.refused(tx.Now()); err != nil {
				return err
			}
		}
		t.count(tx)
		return nil
	})
}

func (t *attempt) count(tx *store.Tx) {
	accountLimit.count(tx, t.account, t.id)
	addressLimit.count(tx, t.address, t.id)
}

// failed counts a try that failed with err, which it returns.
func (s *Service) failed(ctx context.Context, t *attempt, err error) error {
	if t.counted || fault.CodeOf(err) != fault.InvalidCredentials {
		return err
	}
	return errors.Join(err, s.store.Update(ctx, func(tx *store.Tx) error {
		if err := t.read(tx.Reader, uuid.Nil); err != nil {
			return err
		}
		t.count(tx)
		return nil
	}))
}

// passed forgets what stood against an account, and that this try was counted.
func (s *Service) passed(ctx context.Context, t *attempt) error {
	if t.account.Failures == 0 && !t.counted {
		return nil
	}
	defer func() { t.account.Failures, t.counted = 0, false }()
	return s.store.Update(ctx, func(tx *store.Tx) error {
		if err := t.read(tx.Reader, uuid.Nil); err != nil {
			return err
		}
		tx.DeleteThrottle(t.account)
		if t.counted && t.address.Failures > 0 {
			t.address.Failures--
			t.address.Until = tx.Now()
			tx.PutThrottle(t.address)
		}
		return nil
	})
}
