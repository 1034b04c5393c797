package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store/tuple"
)

const (
	checkPage   = 200 // keys of one transaction: far from its age limit
	maxProblems = 100 // sentences in a report
)

// Report is what Check found.
type Report struct {
	Counts   map[string]int // keys by kind
	Disagree int            // keys at fault
	Problems []string       // the first of them, a sentence each
}

// OK reports that every key agrees with every other.
func (r Report) OK() bool { return r.Disagree == 0 }

// Check walks every key of the store in transactions of bounded size while
// others go on writing. Each key is held against its counterparts on the
// snapshot that it was read from, and as every key is visited, each pair is
// checked from both ends.
func (s *Store) Check(ctx context.Context) (Report, error) {
	report := Report{Counts: map[string]int{}}
	rest := below(s.space.prefix)
	for more := true; more; {
		err := s.View(ctx, func(r *Reader) error {
			pairs, err := r.scan(rest, kv.RangeOptions{Limit: checkPage})
			if err != nil {
				return err
			}
			for _, p := range pairs {
				kind, problem := r.check(p)
				if errors.Is(problem, errReading) {
					return problem
				}
				report.add(kind, problem, p.Key)
			}
			if more = len(pairs) == checkPage; more {
				rest.Begin = kv.KeyRange(pairs[len(pairs)-1].Key).End
			}
			return nil
		})
		if err != nil {
			return report, fmt.Errorf("checking the store: %w", err)
		}
	}
	return report, nil
}

func (r *Report) add(kind string, problem error, key []byte) {
	r.Counts[kind]++
	if problem == nil {
		return
	}
	if r.Disagree++; len(r.Problems) < maxProblems {
		elements, err := tuple.Decode(key)
		if err != nil {
			elements = []any{key}
		}
		r.Problems = append(r.Problems, fmt.Sprintf("%s %v: %v", kind, elements, problem))
	}
}

// What is wrong with a key.
var (
	errForeign  = errors.New("no key of this release has this form")
	errDiffers  = errors.New("its counterpart differs")
	errNoExpiry = errors.New("it has no expiry entry")
	errNoRecord = errors.New("no record expires then")
)

// check tells what kind of key p has and what is wrong with it.
func (r *Reader) check(p kv.Pair) (kind string, problem error) {
	elements, err := tuple.Decode(p.Key[len(r.space.prefix):])
	if err != nil {
		return "unknown", err
	}
	form, ids := formOf(elements)
	switch form {
	case "users #":
		return nameUsers, r.checkUser(p.Value, ids[0])
	case "users_by_email $":
		return nameUsersByEmail, r.checkEmail(p.Value, elements[1])
	case "users # tenants #":
		return "memberships", r.checkMembership(p.Value, r.space.member(ids[1], ids[0]), ids[0], ids[1])
	case "users # logins #":
		return nameLogins, r.checkLogin(p.Value, ids[0], ids[1])
	case "tenants #":
		_, err := decode[Tenant](p.Value)
		return nameTenants, err
	case "tenants # members #":
		return nameMembers, r.checkMembership(p.Value, r.space.userTenant(ids[1], ids[0]), ids[1], ids[0])
	case "tenants # sessions #":
		return nameSessions, r.checkSession(p.Value, ids[0], ids[1])
	case "tenants # sessions_by_user # #":
		return nameSessionsByUser, r.same(r.space.session(ids[0], ids[2]), p.Value)
	case "sessions #":
		return "session_owners", r.checkOwner(p.Value, ids[0])
	case "refresh_tokens $", "one_time_tokens $", "kept_answers $", "challenges $":
		return formKind(form), r.checkHashed(formKind(form), elements[1])
	case "users # refresh_tokens $", "users # one_time_tokens $", "users # kept_answers $", "users # challenges $":
		return "owned", r.checkOwned(p.Value, ids[0], elements)
	case "throttles $":
		return nameThrottles, r.checkThrottle(p.Value, elements[1])
	case "tenants # invitations #":
		return nameInvitations, r.checkInvitation(p.Value, ids[0], ids[1])
	case "invitation_tokens $":
		return nameInviteTokens, r.checkInviteToken(p.Value, elements[1])
	case "tenants # audit #":
		return nameAudit, r.checkEvent(p.Value, ids[0], ids[1])
	case "outbox $ #":
		_, err := decode[Letter](p.Value)
		return nameOutbox, err
	case "removals $ #", "removals $ # #":
		return nameRemovals, r.checkRemoval(p)
	case "users # factors":
		return nameFactors, r.checkFactors(p.Value, ids[0])
	case "passkeys $":
		return namePasskeys, r.checkPasskey(p.Value, elements[1])
	case "expiry $ logins # #", "expiry $ refresh_tokens $", "expiry $ challenges $",
		"expiry $ one_time_tokens $", "expiry $ kept_answers $", "expiry $ throttles $",
		"expiry $ invitations # #", "expiry $ audit # #":
		return nameExpiry, r.checkExpiry(p.Key)
	default:
		return "unknown", errForeign
	}
}

// formOf writes a key's form: its names as they are, # for an id, $ for
// anything else that differs from key to key. It gives the ids apart.
func formOf(elements []any) (form string, ids []uuid.UUID) {
	words := make([]string, len(elements))
	for i, e := range elements {
		switch e := e.(type) {
		case uuid.UUID:
			words[i], ids = "#", append(ids, e)
		case string:
			words[i] = e
			if i == 1 {
				words[i] = "$" // an address: names are never second
			}
		default:
			words[i] = "$"
		}
	}
	return strings.Join(words, " "), ids
}

// same reports whether key holds want.
func (r *Reader) same(key tuple.Key, want []byte) error {
	got, err := r.get(key)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(got, want):
		return errDiffers
	}
	return nil
}

func (r *Reader) checkUser(value []byte, id uuid.UUID) error {
	u, err := decode[User](value)
	if err != nil {
		return err
	}
	return r.same(r.space.userByEmail(u.Email), tuple.Key{}.UUID(id))
}

func (r *Reader) checkEmail(value []byte, email any) error {
	ids, err := decodeIDs(value, 1)
	if err != nil {
		return err
	}
	u, err := r.User(ids[0])
	if err == nil && u.Email != email {
		err = errDiffers
	}
	return err
}

func (r *Reader) checkMembership(value []byte, counterpart tuple.Key, userID, tenantID uuid.UUID) error {
	if _, err := decode[Membership](value); err != nil {
		return err
	}
	if err := r.same(counterpart, value); err != nil {
		return err
	}
	if _, err := r.User(userID); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	if _, err := r.Tenant(tenantID); err != nil {
		return fmt.Errorf("tenant: %w", err)
	}
	return nil
}

func (r *Reader) checkLogin(value []byte, userID, id uuid.UUID) error {
	l, err := decode[Login](value)
	if err != nil {
		return err
	}
	if err := r.same(r.space.loginExpiry(l.ExpiresAt, userID, id), []byte{}); err != nil {
		return fmt.Errorf("%w: %w", errNoExpiry, err)
	}
	if err := r.checkPresent(userID); err != nil {
		return err
	}
	// The token expires at the same moment, so a sweep may have been first to it.
	token, err := load[RefreshToken](r, r.space.refreshToken(l.Current))
	switch {
	case errors.Is(err, ErrNotFound) && !l.ExpiresAt.After(r.now):
		return nil
	case err != nil:
		return fmt.Errorf("current refresh token: %w", err)
	case token.UserID != userID || token.LoginID != id || !token.ExpiresAt.Equal(l.ExpiresAt):
		return fmt.Errorf("current refresh token: %w", errDiffers)
	}
	return nil
}

func (r *Reader) checkSession(value []byte, tenantID, id uuid.UUID) error {
	s, err := decode[Session](value)
	if err != nil {
		return err
	}
	if err := r.same(r.space.sessionByUser(tenantID, s.UserID, id), value); err != nil {
		return fmt.Errorf("list: %w", err)
	}
	if err := r.same(r.space.sessionOwner(id), tuple.Key{}.UUID(tenantID).UUID(s.UserID)); err != nil {
		return fmt.Errorf("owner: %w", err)
	}
	return nil
}

func (r *Reader) checkOwner(value []byte, id uuid.UUID) error {
	ids, err := decodeIDs(value, 2)
	if err != nil {
		return err
	}
	s, err := r.Session(ids[0], id)
	if err == nil && s.UserID != ids[1] {
		err = errDiffers
	}
	return err
}

func (r *Reader) checkExpiry(key []byte) error {
	entry, err := r.space.parseExpiry(key)
	if err != nil {
		return err
	}
	_, holds, err := r.holds(entry)
	if err == nil && !holds {
		err = errNoRecord
	}
	return err
}
