package sqlitekv

import (
	"bytes"
	"slices"

	"coditect.ai/platform/app/internal/kv"
)

// writes is what a transaction is about to do to the data: for each key it
// touched the final effect, on top of ranges cleared before. Its effect does
// not depend on the order in which it is applied once the ranges are cleared.
type writes struct {
	effects map[string]effect
	cleared rangeSet
	order   []string // the keys of effects; sorted if ordered
	ordered bool
}

// effect is what becomes of one key.
type effect struct {
	kind  effectKind
	value []byte // of set
	delta int64  // of add
}

type effectKind uint8

const (
	effectSet effectKind = iota
	effectClear
	effectAdd
)

func (w *writes) empty() bool { return len(w.effects) == 0 && len(w.cleared) == 0 }

// put replaces the effect on key.
func (w *writes) put(key string, e effect) {
	if w.effects == nil {
		w.effects = make(map[string]effect)
	}
	if _, ok := w.effects[key]; !ok {
		w.order = append(w.order, key)
		w.ordered = false
	}
	w.effects[key] = e
}

func (w *writes) set(key, value []byte) {
	w.put(string(key), effect{kind: effectSet, value: copied(value)})
}

func (w *writes) clear(key []byte) {
	w.put(string(key), effect{kind: effectClear})
}

func (w *writes) add(key []byte, delta int64) {
	e, ok := w.effects[string(key)]
	switch {
	case ok && e.kind == effectSet:
		e.value = kv.CounterValue(kv.Counter(e.value) + delta)
	case ok && e.kind == effectAdd:
		e.delta += delta
	case ok || w.cleared.contains(key): // known to be absent
		e = effect{kind: effectSet, value: kv.CounterValue(delta)}
	default:
		e = effect{kind: effectAdd, delta: delta}
	}
	w.put(string(key), e)
}

func (w *writes) clearRange(r kv.Range) {
	if bytes.Compare(r.Begin, r.End) >= 0 {
		return
	}
	kept := w.order[:0]
	for _, key := range w.order {
		if inRange(key, r) {
			delete(w.effects, key)
		} else {
			kept = append(kept, key)
		}
	}
	w.order = kept
	w.cleared = w.cleared.union(rangeSet{{Begin: bytes.Clone(r.Begin), End: bytes.Clone(r.End)}})
}

// own returns the effect on key if the transaction determines one, a cleared range included.
func (w *writes) own(key []byte) (effect, bool) {
	if e, ok := w.effects[string(key)]; ok {
		return e, true
	}
	return effect{kind: effectClear}, w.cleared.contains(key)
}

// keys returns the touched keys in order.
func (w *writes) keys() []string {
	if !w.ordered {
		slices.Sort(w.order)
		w.ordered = true
	}
	return w.order
}

// within returns the touched keys of r in order.
func (w *writes) within(r kv.Range) []string {
	if len(w.effects) == 0 {
		return nil
	}
	keys := w.keys()
	first, _ := slices.BinarySearch(keys, string(r.Begin))
	end, _ := slices.BinarySearch(keys, string(r.End))
	return keys[first:max(first, end)]
}

// over returns the value of a key with the effect on top of its stored value, nil where there is none.
func (e effect) over(stored []byte) []byte {
	switch e.kind {
	case effectSet:
		return copied(e.value)
	case effectAdd:
		return kv.CounterValue(kv.Counter(stored) + e.delta)
	case effectClear:
	}
	return nil
}

// conflicts returns the keys that the writes change, as a set.
func (w *writes) conflicts(extra []kv.Range) rangeSet {
	ranges := make([]kv.Range, 0, len(w.effects)+len(w.cleared)+len(extra))
	for _, key := range w.keys() {
		ranges = append(ranges, kv.KeyRange([]byte(key)))
	}
	ranges = append(ranges, w.cleared...)
	return newRangeSet(append(ranges, extra...))
}

func inRange(key string, r kv.Range) bool {
	return key >= string(r.Begin) && key < string(r.End)
}

// copied returns a copy that is not nil.
func copied(value []byte) []byte { return append([]byte{}, value...) }
