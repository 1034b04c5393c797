package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/google/uuid"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store/tuple"
)

const maxProblems = 100 // sentences in a report

// Report is what Check found.
type Report struct {
	Counts    map[string]int // every key, by kind
	Disagree  int            // keys at fault
	Problems  []string       // the first of them, a sentence each
	Inventory contract.Inventory
}

// OK reports that every key agrees with every other.
func (r Report) OK() bool { return r.Disagree == 0 }

// Check walks every key of the store while others go on writing. Each key is
// held against its counterparts on the snapshot that it was read from, and as
// every key is visited, each pair is checked from both ends.
func (s *Store) Check(ctx context.Context) (Report, error) {
	t := &tallying{}
	report, seen, err := s.check(ctx, t)
	if err != nil {
		return report, fmt.Errorf("checking the store: %w", err)
	}
	report.Inventory = t.done.inventory(seen)
	return report, nil
}

// check lets t take the inventory beside. Where one snapshot lasts for all of the
// store, both are of it. Elsewhere a walk only cuts the store into parts, so that
// the counterparts of several are read at a time: one read after the other, each
// waiting for the network, would take hours where there are millions of keys.
func (s *Store) check(ctx context.Context, t *tallying) (Report, walked, error) {
	c := &checking{}
	if _, long := s.db.(kv.Snapshotter); long {
		seen, err := s.walk(ctx, together{t, c})
		return c.done, seen, err
	}
	first := *t
	seen, rest, err := s.walkOnce(ctx, below(s.space.prefix), together{&first, c})
	if err != nil || rest == nil {
		*t = first
		return c.done, seen, err
	}
	var all findings
	seen, err = s.walkParts(ctx, t, func(ctx context.Context, n int, part kv.Range) error {
		c := &checking{}
		_, err := s.walkOver(ctx, part, c)
		all.add(n, c.done)
		return err
	})
	return all.report(), seen, err
}

// findings are those of parts that end in any order.
type findings struct {
	mu       sync.Mutex
	all      Report
	problems []placed
}

type placed struct {
	part int
	text string
}

func (f *findings) add(part int, r Report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all.Counts == nil {
		f.all.Counts = map[string]int{}
	}
	for kind, n := range r.Counts {
		f.all.Counts[kind] += n
	}
	f.all.Disagree += r.Disagree
	for _, text := range r.Problems {
		f.problems = append(f.problems, placed{part, text})
	}
	slices.SortStableFunc(f.problems, func(a, b placed) int { return a.part - b.part })
	f.problems = f.problems[:min(len(f.problems), maxProblems)]
}

func (f *findings) report() Report {
	for _, p := range f.problems {
		f.all.Problems = append(f.all.Problems, p.text)
	}
	return f.all
}

// checking is a walk's visitor: what it found in transactions that have ended,
// and in the one under way.
type checking struct{ done, now Report }

func (c *checking) begin() {
	c.now = c.done // problems are only appended to, beyond the length that the other has
	c.now.Counts = maps.Clone(c.done.Counts)
}

func (c *checking) end() error {
	c.done = c.now
	return nil
}

func (c *checking) visit(r *Reader, p kv.Pair) error {
	e, f, problem := r.check(p)
	if errors.Is(problem, errReading) {
		return problem
	}
	c.now.add(e, f, problem)
	return nil
}

func (r *Report) add(e entry, of form, problem error) {
	if r.Counts == nil {
		r.Counts = map[string]int{}
	}
	r.Counts[of.kind]++
	if problem == nil {
		return
	}
	if r.Disagree++; len(r.Problems) < maxProblems {
		r.Problems = append(slices.Clip(r.Problems), sentence(e, of, problem))
	}
}

// sentence names the key and what is wrong with it.
func sentence(e entry, of form, problem error) string {
	name := hex.EncodeToString(e.Key)
	if e.elements != nil {
		name = fmt.Sprint(e.elements)
	}
	return fmt.Sprintf("%s %s: %v", of.kind, name, problem)
}

// foreign is the form of keys that this release does not know.
var foreign = form{kind: "unknown", class: transient}

// check tells what p is and what is wrong with it.
func (r *Reader) check(p kv.Pair) (e entry, f form, problem error) {
	e, err := r.space.parse(p)
	if err != nil {
		return e, foreign, err
	}
	f, known := forms[e.form]
	if !known {
		return e, foreign, errForeign
	}
	if f.class == index {
		_, _, problem = r.recordOf(e)
		if isNotFound(problem) {
			problem = errNoRecord
		}
		return e, f, problem
	}
	return e, f, r.checkRecord(e, f)
}

func (r *Reader) checkRecord(e entry, f form) error {
	derived, err := f.derive(r.space, e)
	if err != nil {
		return err
	}
	for _, d := range derived {
		if err := r.same(d.Key, d.Value); err != nil {
			return r.space.aboutIndex(d.Key, err)
		}
	}
	if f.holds == nil {
		return nil
	}
	return f.holds(r, e)
}

// aboutIndex says which index entry a record lacks.
func (s space) aboutIndex(key []byte, err error) error {
	if errors.Is(err, errReading) {
		return err
	}
	kind := foreign.kind
	if e, parsing := s.parse(kv.Pair{Key: key}); parsing == nil {
		kind = forms[e.form].kind
	}
	switch {
	case !isNotFound(err):
		return fmt.Errorf("its entry in %s: %w", kind, err)
	case kind == nameExpiry:
		return errNoExpiry
	default:
		return fmt.Errorf("%w in %s", errNoIndex, kind)
	}
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

func (r *Reader) checkMembership(e entry) error {
	if _, err := r.User(e.ids[0]); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	if _, err := r.Tenant(e.ids[1]); err != nil {
		return fmt.Errorf("tenant: %w", err)
	}
	return nil
}

// errNoToken: the login cannot be refreshed, now or ever.
var errNoToken = errors.New("it has no current refresh token")

func (r *Reader) checkLogin(e entry) error {
	if err := r.checkPresent(e.ids[0]); err != nil {
		return err
	}
	l, err := decode[Login](e.Value)
	if err != nil {
		return err
	}
	// The token expires at the same moment, so a sweep may have been first to it.
	token, err := load[RefreshToken](r, r.space.refreshToken(l.Current))
	switch {
	case isNotFound(err) && !l.ExpiresAt.After(r.now):
		return nil
	case isNotFound(err):
		return errNoToken
	case err != nil:
		return fmt.Errorf("current refresh token: %w", err)
	case token.UserID != e.ids[0] || token.LoginID != e.ids[1] || !token.ExpiresAt.Equal(l.ExpiresAt):
		return fmt.Errorf("%w: the one that it names: %w", errNoToken, errDiffers)
	}
	return nil
}

// checkPresent holds that a user is there, or that what is left of them is
// being removed.
func (r *Reader) checkPresent(userID uuid.UUID) error {
	_, err := r.User(userID)
	if isNotFound(err) && r.removing(Removal{Kind: RemoveUser, UserID: userID}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("user: %w", err)
	}
	return nil
}

func (r *Reader) checkFactors(e entry) error {
	f, err := decode[Factors](e.Value)
	if err != nil {
		return err
	}
	if !f.Any() {
		return errors.New("it has no second factor")
	}
	return r.checkPresent(e.ids[0])
}

// checkRemoval holds that a removal lies where it says, and that what it removes is deleted.
func (r *Reader) checkRemoval(e entry) error {
	m, err := decode[Removal](e.Value)
	if err != nil {
		return err
	}
	if !bytes.Equal(e.Key, r.space.removal(m)) {
		return errDiffers
	}
	switch m.Kind {
	case RemoveUser:
		_, err = r.User(m.UserID)
	case RemoveTenant:
		_, err = r.Tenant(m.TenantID)
	default:
		return nil
	}
	if isNotFound(err) {
		return nil
	}
	if err == nil {
		err = errors.New("what it removes is there")
	}
	return err
}
