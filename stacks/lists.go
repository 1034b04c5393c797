package stacks

import (
	"encoding"
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	_ encoding.TextUnmarshaler = (*Range)(nil)
	_ encoding.TextUnmarshaler = (*Ranges)(nil)
	_ encoding.TextUnmarshaler = (*Days)(nil)
	_ encoding.TextUnmarshaler = (*Freezes)(nil)
	_ encoding.TextUnmarshaler = (*Emails)(nil)
	_ encoding.TextUnmarshaler = (*Stages)(nil)
)

// Range is a range of addresses, written as "10.10.0.0/20".
type Range struct{ netip.Prefix }

// UnmarshalText reads a range that begins at its own first address.
func (r *Range) UnmarshalText(text []byte) error {
	prefix, err := netip.ParsePrefix(string(text))
	if err != nil || !prefix.Addr().Is4() {
		return errors.New(`must be a range of addresses, like "10.10.0.0/20"`)
	}
	if first := prefix.Masked(); first != prefix {
		return fmt.Errorf("must begin at the range's first address: %s", first)
	}
	r.Prefix = prefix
	return nil
}

// Ranges are ranges of addresses, comma-separated.
type Ranges []Range

// UnmarshalText reads a list; an empty one is legal here.
func (r *Ranges) UnmarshalText(text []byte) error {
	*r = nil
	for _, word := range words(text) {
		var one Range
		if err := one.UnmarshalText([]byte(word)); err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
		*r = append(*r, one)
	}
	return nil
}

// Days are days of the week as calendars write them.
type Days []string

var week = []string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}

// UnmarshalText reads a list of different days.
func (d *Days) UnmarshalText(text []byte) error {
	*d = nil
	for _, word := range words(text) {
		if !slices.Contains(week, word) || slices.Contains(*d, word) {
			return fmt.Errorf("must be different days of %s", strings.Join(week, ","))
		}
		*d = append(*d, word)
	}
	return nil
}

// Freeze is a time without upgrades, from the first moment of one day (UTC) to
// the first moment of another.
type Freeze struct {
	Name       string
	Start, End time.Time
}

// Freezes are written as "holidays=2026-12-18/2027-01-04", comma-separated.
type Freezes []Freeze

// UnmarshalText reads a list of freezes under different names.
func (f *Freezes) UnmarshalText(text []byte) error {
	*f = nil
	for _, word := range words(text) {
		name, span, _ := strings.Cut(word, "=")
		from, to, _ := strings.Cut(span, "/")
		start, startErr := time.Parse(time.DateOnly, from)
		end, endErr := time.Parse(time.DateOnly, to)
		switch {
		case startErr != nil || endErr != nil || !label.MatchString(name):
			return fmt.Errorf("%s: must be a name and two days, like holidays=2026-12-18/2027-01-04", word)
		case !end.After(start):
			return fmt.Errorf("%s: must end after it begins", word)
		case end.Sub(start) > 180*24*time.Hour:
			return fmt.Errorf("%s: must not be longer than 180 days, which is all that GKE allows", word)
		case slices.ContainsFunc(*f, func(other Freeze) bool { return other.Name == name }):
			return fmt.Errorf("%s: the name is used twice", word)
		}
		*f = append(*f, Freeze{Name: name, Start: start, End: end})
	}
	return nil
}

func words(text []byte) []string {
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == ',' || r == ' ' })
}

// Emails are addresses, comma-separated.
type Emails []string

// UnmarshalText reads a list of bare addresses.
func (e *Emails) UnmarshalText(text []byte) error {
	*e = nil
	for _, word := range words(text) {
		if address, err := mail.ParseAddress(word); err != nil || address.Address != word {
			return fmt.Errorf("%s: must be an address, like oncall@coditect.ai", word)
		}
		*e = append(*e, word)
	}
	return nil
}

// Stage is a share of requests and how long it must go well.
type Stage struct {
	Percent int
	Soak    time.Duration
}

// Stages are written as "10=1h,50=4h,100=24h".
type Stages []Stage

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Stages) UnmarshalText(text []byte) error {
	*s = nil
	last := 0
	for _, word := range words(text) {
		share, long, _ := strings.Cut(word, "=")
		percent, err := strconv.Atoi(share)
		if err != nil || percent <= last || percent > 100 {
			return fmt.Errorf("%s: must be a percentage above the one before, up to 100, and a time, like 10=1h", word)
		}
		soak, err := time.ParseDuration(long)
		if err != nil || soak < time.Second || soak > 30*24*time.Hour {
			return fmt.Errorf("%s: the time must be 1s to 720h, like 10=1h", word)
		}
		*s = append(*s, Stage{percent, soak})
		last = percent
	}
	if last != 100 {
		return errors.New("must end with all requests, like 10=1h,50=4h,100=24h")
	}
	return nil
}
