package store

import (
	"context"
	"errors"
	"fmt"

	"coditect.ai/platform/app/internal/kv"
)

// Mend is what Repair did about a key at fault, or would do.
type Mend struct {
	Fault  string // a sentence, as Check has it
	Action string // what mends it; empty where nothing does safely
	Why    string // nothing is done
}

// Bounds of a repair: an index entry that cannot be read is only known to be
// nobody's when a round has rewritten those that are somebody's.
const (
	repairRounds = 4
	repairFaults = 10_000 // keys of one round
)

// Repair mends what follows from the records: entries that a record lacks are
// written, entries of no record are dropped, and a login that can never be
// refreshed is ended. It never writes a record, guesses what one held, or
// touches what this release cannot read. Without apply it only tells. Others
// may go on writing: each key is looked at again in the transaction that mends
// it. What it returns is what it did in all rounds, and what it left in the last.
func (s *Store) Repair(ctx context.Context, apply bool) (done, left []Mend, err error) {
	for round := 1; round <= repairRounds; round++ {
		faults := &faulty{}
		if _, err := s.walk(ctx, faults); err != nil {
			return done, left, fmt.Errorf("looking for faults: %w", err)
		}
		mended := 0
		left = nil
		for _, key := range faults.done {
			m, err := s.mend(ctx, key, apply, round > 1)
			if err != nil {
				return done, left, fmt.Errorf("mending the store: %w", err)
			}
			switch {
			case m.Action != "":
				done = append(done, m)
				mended++
			case m.Fault != "":
				left = append(left, m)
			}
		}
		if !apply || mended == 0 && round > 1 {
			break
		}
	}
	return done, left, nil
}

// faulty gathers the keys at fault.
type faulty struct{ done, now [][]byte }

func (f *faulty) begin() { f.now = nil }

func (f *faulty) end() error {
	f.done = append(f.done, f.now...)
	return nil
}

func (f *faulty) visit(r *Reader, p kv.Pair) error {
	_, _, problem := r.check(p)
	if errors.Is(problem, errReading) {
		return problem
	}
	if problem != nil && len(f.done)+len(f.now) < repairFaults {
		f.now = append(f.now, p.Key)
	}
	return nil
}

// mend mends one key, unless that has happened by itself. Its Fault is then empty.
func (s *Store) mend(ctx context.Context, key []byte, apply, later bool) (m Mend, err error) {
	found := Mend{} // by the first run: a second may find its own effect
	err = s.Update(ctx, func(tx *Tx) error {
		m = Mend{}
		value, err := tx.get(key)
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		e, f, problem := tx.check(kv.Pair{Key: key, Value: value})
		if errors.Is(problem, errReading) {
			return problem
		}
		if problem == nil {
			return nil
		}
		plan, err := tx.plan(e, f, problem, later)
		if err != nil {
			return err
		}
		m = Mend{Fault: sentence(e, f, problem), Action: plan.action, Why: plan.why}
		if !apply {
			return nil
		}
		if len(plan.set)+len(plan.clear) == 0 {
			m.Action = ""
		}
		for _, key := range plan.clear {
			tx.clear(key)
		}
		for _, p := range plan.set {
			tx.set(p.Key, p.Value)
		}
		if found.Action == "" {
			found = m
		}
		return nil
	})
	if err == nil && m.Fault == "" && found.Action != "" {
		m = found
	}
	return m, err
}

// plan is how a fault is mended.
type plan struct {
	action string
	why    string // there is no action
	set    []kv.Pair
	clear  [][]byte
}

// plan returns how the fault of e is mended. The error is of reading.
func (r *Reader) plan(e entry, f form, problem error, later bool) (plan, error) {
	switch {
	case f.kind == foreign.kind:
		return plan{why: "it is of no form that this release knows: find out what wrote it"}, nil
	case f.class == index:
		return r.planIndex(e, f, later)
	default:
		return r.planRecord(e, f, problem)
	}
}

func (r *Reader) planIndex(e entry, f form, later bool) (plan, error) {
	if _, err := f.record(r.space, e); err != nil {
		if !later {
			return plan{action: "written anew from its record, or dropped if it has none"}, nil
		}
		return plan{action: "dropped: it is no record's", clear: [][]byte{e.Key}}, nil
	}
	_, derived, err := r.recordOf(e)
	switch {
	case errors.Is(err, errReading):
		return plan{}, err
	case isNotFound(err):
		return plan{action: "dropped: it has no record", clear: [][]byte{e.Key}}, nil
	case errors.Is(err, errDiffers):
		for _, d := range derived {
			if string(d.Key) == string(e.Key) {
				return plan{action: "written anew from its record", set: []kv.Pair{d}}, nil
			}
		}
		return plan{action: "dropped: its record has another", clear: [][]byte{e.Key}}, nil
	default:
		return plan{why: "its record cannot be read: mend that first"}, nil
	}
}

func (r *Reader) planRecord(e entry, f form, problem error) (plan, error) {
	derived, err := f.derive(r.space, e)
	if err != nil {
		return plan{why: "it cannot be read: restore it from a backup, or use the release that wrote it"}, nil //nolint:nilerr // it is what the plan is about
	}
	var missing []kv.Pair
	for _, d := range derived {
		switch err := r.same(d.Key, d.Value); {
		case errors.Is(err, errReading):
			return plan{}, err
		case isNotFound(err):
			missing = append(missing, d)
		case err != nil:
			taken, err := r.taken(d.Key)
			if err != nil {
				return plan{}, err
			}
			if taken {
				return plan{why: "another record has the same entry: only one of them can be right"}, nil
			}
			missing = append(missing, d)
		}
	}
	switch {
	case len(missing) > 0:
		return plan{action: fmt.Sprintf("%d entries written from the record", len(missing)), set: missing}, nil
	case errors.Is(problem, errNoToken):
		keys := [][]byte{e.Key}
		for _, d := range derived {
			keys = append(keys, d.Key)
		}
		return plan{action: "the login is ended: its user signs in again", clear: keys}, nil
	default:
		return plan{why: "it is a record: restore what is missing from a backup, or delete it by the API"}, nil
	}
}

// taken reports whether the index entry at key is rightly another record's.
func (r *Reader) taken(key []byte) (bool, error) {
	value, err := r.get(key)
	if err != nil {
		return false, err
	}
	e, err := r.space.parse(kv.Pair{Key: key, Value: value})
	if err != nil {
		return false, nil //nolint:nilerr // what cannot be read is nobody's
	}
	_, _, err = r.recordOf(e)
	if errors.Is(err, errReading) {
		return false, err
	}
	return err == nil, nil
}
