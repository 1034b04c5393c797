package sqlitekv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"sort"

	"coditect.ai/platform/app/internal/kv"
)

// rangeSet is a set of keys: disjoint, non-empty ranges in order.
type rangeSet []kv.Range

// newRangeSet makes a set of ranges in any order; it takes the slice over.
func newRangeSet(ranges []kv.Range) rangeSet {
	slices.SortFunc(ranges, func(a, b kv.Range) int { return bytes.Compare(a.Begin, b.Begin) })
	set := rangeSet(ranges[:0])
	for _, r := range ranges {
		set = set.extend(r)
	}
	return set
}

// extend adds a range that begins at or after the last one's begin.
func (s rangeSet) extend(r kv.Range) rangeSet {
	if bytes.Compare(r.Begin, r.End) >= 0 {
		return s
	}
	if last := len(s) - 1; last >= 0 && bytes.Compare(r.Begin, s[last].End) <= 0 {
		if bytes.Compare(r.End, s[last].End) > 0 {
			s[last].End = r.End
		}
		return s
	}
	return append(s, r)
}

// union returns a set of its own with the keys of both.
func (s rangeSet) union(t rangeSet) rangeSet {
	u := make(rangeSet, 0, len(s)+len(t))
	for len(s) > 0 && len(t) > 0 {
		if bytes.Compare(s[0].Begin, t[0].Begin) <= 0 {
			u, s = u.extend(s[0]), s[1:]
		} else {
			u, t = u.extend(t[0]), t[1:]
		}
	}
	for _, r := range s {
		u = u.extend(r)
	}
	for _, r := range t {
		u = u.extend(r)
	}
	return u
}

// rangeSets is a set that grows: members of doubling sizes, so that adding
// many small sets costs little more than sorting them.
type rangeSets []rangeSet

func (ss rangeSets) add(s rangeSet) rangeSets {
	ss = append(ss, s)
	for last := len(ss) - 1; last > 0 && len(ss[last-1]) <= 2*len(ss[last]); last-- {
		ss[last-1] = ss[last-1].union(ss[last])
		ss = ss[:last]
	}
	return ss
}

func (ss rangeSets) overlaps(ranges []kv.Range) bool {
	return slices.ContainsFunc(ss, func(s rangeSet) bool { return s.overlapsAny(ranges) })
}

// union returns the members as one set.
func (ss rangeSets) union() rangeSet {
	var u rangeSet
	for _, s := range ss {
		u = u.union(s)
	}
	return u
}

// find returns the index of the first range that ends after key.
func (s rangeSet) find(key []byte) int {
	return sort.Search(len(s), func(i int) bool { return bytes.Compare(s[i].End, key) > 0 })
}

// contains tells whether key is in the set.
func (s rangeSet) contains(key []byte) bool {
	i := s.find(key)
	return i < len(s) && bytes.Compare(s[i].Begin, key) <= 0
}

// overlaps tells whether any key of r is in the set.
func (s rangeSet) overlaps(r kv.Range) bool {
	if bytes.Compare(r.Begin, r.End) >= 0 {
		return false
	}
	i := s.find(r.Begin)
	return i < len(s) && bytes.Compare(s[i].Begin, r.End) < 0
}

func (s rangeSet) overlapsAny(ranges []kv.Range) bool {
	return slices.ContainsFunc(ranges, s.overlaps)
}

// size is the number of bytes of keys in the set's bounds.
func (s rangeSet) size() int {
	n := 0
	for _, r := range s {
		n += len(r.Begin) + len(r.End)
	}
	return n
}

// encode writes the set as it is stored in the log of commits: for each range
// the length of its begin and the begin, then the same of its end.
func (s rangeSet) encode() []byte {
	b := make([]byte, 0, s.size()+4*len(s))
	for _, r := range s {
		for _, key := range [][]byte{r.Begin, r.End} {
			b = binary.AppendUvarint(b, uint64(len(key)))
			b = append(b, key...)
		}
	}
	return b
}

var errRanges = errors.New("damaged entry in the log of commits")

// decodeRanges reads what encode wrote. The set refers to b.
func decodeRanges(b []byte) (rangeSet, error) {
	var set rangeSet
	next := func() ([]byte, error) {
		n, width := binary.Uvarint(b)
		if width <= 0 || n > uint64(len(b)-width) { //nolint:gosec // width is at most len(b)
			return nil, errRanges
		}
		key := b[width : width+int(n)] //nolint:gosec // bounded by len(b) above
		b = b[width+int(n):]           //nolint:gosec // bounded by len(b) above
		return key, nil
	}
	for len(b) > 0 {
		begin, err := next()
		if err != nil {
			return nil, err
		}
		end, err := next()
		if err != nil {
			return nil, err
		}
		set = append(set, kv.Range{Begin: begin, End: end})
	}
	return set, nil
}
