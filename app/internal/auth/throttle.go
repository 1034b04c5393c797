package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
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
// tried from one. Asking for mail counts like a failure, right or wrong, and so
// does inviting somebody, for who does it; registering counts where the address
// is taken, so that nobody goes through a list of them.
var (
	accountLimit  = limit{"account", 5, time.Minute, time.Hour}
	addressLimit  = limit{"address", 20, 15 * time.Minute, 24 * time.Hour}
	mailLimit     = limit{"mail", 10, 15 * time.Minute, 24 * time.Hour}
	inviteLimit   = limit{"invitations", 50, 15 * time.Minute, 24 * time.Hour}
	registerLimit = limit{"register", 20, 15 * time.Minute, 24 * time.Hour}
)

// CountInvitation counts a letter that a user has sent to somebody else, once
// for each try, or returns fault.TooManyAttempts.
func CountInvitation(tx *store.Tx, userID, try uuid.UUID) error {
	th, err := tx.Throttle(inviteLimit.hash(userID.String()))
	if err != nil {
		return fmt.Errorf("reading the inviter's throttle: %w", err)
	}
	if wait := inviteLimit.wait(th, tx.Now()); wait > 0 && th.Last != try {
		return errTooMany(wait)
	}
	inviteLimit.count(tx, th, try)
	return nil
}

// turns lets no more tries of one account go on at the same time than are free,
// so that a burst is not over before its first failure is counted. The others
// wait their turn, with the bounds of the gate of hashes. Each process has its own.
type turns struct {
	queue int
	wait  time.Duration

	mu sync.Mutex
	by map[store.TokenHash]*turn
}

type turn struct {
	*gate
	callers int
}

func newTurns(queue int, wait time.Duration) *turns {
	return &turns{queue: queue, wait: wait, by: make(map[store.TokenHash]*turn)}
}

// take waits for a turn, which ends with release, or returns fault.Busy or the context's error.
func (t *turns) take(ctx context.Context, account store.TokenHash) (release func(), err error) {
	t.mu.Lock()
	mine, ok := t.by[account]
	if !ok {
		mine = &turn{gate: newGate(accountLimit.free, t.queue, t.wait)}
		t.by[account] = mine
	}
	mine.callers++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.callers--; mine.callers == 0 {
			delete(t.by, account)
		}
	}
	if err := mine.enter(ctx); err != nil {
		leave()
		return nil, err
	}
	return func() {
		<-mine.slots
		leave()
	}, nil
}

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
	return &fault.Error{Code: fault.TooManyAttempts, Message: "Too many attempts; wait before you try again.", RetryAfter: wait}
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

// read takes up what earlier tries have left.
func (t *attempt) read(r *store.Reader) (err error) {
	if t.account, err = r.Throttle(t.accountHash); err != nil {
		return fmt.Errorf("reading the account's throttle: %w", err)
	}
	if t.address, err = r.Throttle(t.addressHash); err != nil {
		return fmt.Errorf("reading the address's throttle: %w", err)
	}
	return nil
}

// meet is read, at first. Where an account is slowed down, the addresses that
// its owner is signed in from are not, so that somebody else's guesses never
// shut them out there. Of nobody, uuid.Nil, it reads as much.
func (t *attempt) meet(r *store.Reader, userID uuid.UUID) error {
	if err := t.read(r); err != nil || !accountLimit.slowed(t.account) {
		return err
	}
	logins, _, err := r.Logins(userID, uuid.Nil, familiarLogins)
	if err != nil {
		return fmt.Errorf("listing the logins: %w", err)
	}
	for _, l := range logins {
		t.familiar = t.familiar || t.from != "" && l.Address == t.from
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
		if err := t.read(tx.Reader); err != nil {
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
		if err := t.read(tx.Reader); err != nil {
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
		if err := t.read(tx.Reader); err != nil {
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
