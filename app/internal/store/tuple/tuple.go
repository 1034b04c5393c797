// Package tuple owns the encoding of keys: FoundationDB's tuple layer, byte
// for byte, for the element types that the project's keys have. Encoded tuples
// sort as their elements do, and FoundationDB's own tools can read them.
//
// It knows nothing of what the keys mean.
package tuple

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Type codes of the tuple layer's specification.
const (
	codeBytes   = 0x01
	codeText    = 0x02
	codeIntZero = 0x14 // ± the number of bytes that follow
	codeUUID    = 0x30
	escape      = 0xFF // follows a zero byte inside bytes and text
)

// Key is an encoded tuple, or the prefix of longer ones. Its methods return
// the key with one more element and leave the receiver as it was, so that a
// prefix may be shared.
type Key []byte

// Bytes appends a byte string.
func (k Key) Bytes(b []byte) Key { return k.escaped(codeBytes, b) }

// Text appends a Unicode string, which must be valid UTF-8.
func (k Key) Text(s string) Key { return k.escaped(codeText, []byte(s)) }

// UUID appends a UUID.
func (k Key) UUID(u uuid.UUID) Key { return append(k.grow(codeUUID, len(u)), u[:]...) }

// Int appends an integer in as few bytes as it takes.
func (k Key) Int(n int64) Key {
	if n == 0 {
		return k.grow(codeIntZero, 0)
	}
	size := (bits.Len64(magnitude(n)) + 7) / 8
	code, v := codeIntZero+size, uint64(n) //nolint:gosec // the bits are what is meant
	if n < 0 {
		code, v = codeIntZero-size, ^magnitude(n)
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v)
	return append(k.grow(byte(code), size), b[8-size:]...) //nolint:gosec // 0x0C to 0x1C
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n) //nolint:gosec // two's complement
	}
	return uint64(n)
}

// grow returns a copy of k with code at its end and room for n more bytes.
func (k Key) grow(code byte, n int) Key {
	out := make(Key, len(k), len(k)+1+n)
	copy(out, k)
	return append(out, code)
}

func (k Key) escaped(code byte, b []byte) Key {
	out := k.grow(code, len(b)+bytes.Count(b, []byte{0})+1)
	for _, c := range b {
		out = append(out, c)
		if c == 0 {
			out = append(out, escape)
		}
	}
	return append(out, 0)
}

// errTruncated: the encoding ends inside an element.
var errTruncated = errors.New("element is cut short")

// Decode returns the elements of an encoded tuple as []byte, string, int64 and
// uuid.UUID. It refuses whatever Key would not have written, so that what it
// accepts encodes to the same bytes again.
func Decode(b []byte) ([]any, error) {
	var elements []any
	for pos := 0; pos < len(b); {
		element, n, err := decodeOne(b[pos:])
		if err != nil {
			return nil, fmt.Errorf("tuple element %d at byte %d: %w", len(elements), pos, err)
		}
		elements = append(elements, element)
		pos += n
	}
	return elements, nil
}

// decodeOne returns the first element of b, which is not empty, and its length.
func decodeOne(b []byte) (element any, n int, err error) {
	switch code := b[0]; {
	case code == codeBytes || code == codeText:
		raw, n, err := unescape(b[1:])
		if err != nil {
			return nil, 0, err
		}
		if code == codeBytes {
			return raw, 1 + n, nil
		}
		if !utf8.Valid(raw) {
			return nil, 0, errors.New("text is not UTF-8")
		}
		return string(raw), 1 + n, nil
	case code == codeUUID:
		if len(b) < 1+len(uuid.UUID{}) {
			return nil, 0, errTruncated
		}
		return uuid.UUID(b[1:17]), 17, nil
	case code >= codeIntZero-8 && code <= codeIntZero+8:
		return decodeInt(b)
	default:
		return nil, 0, fmt.Errorf("type code 0x%02X is not one of ours", code)
	}
}

// unescape returns the content up to the closing zero, and the length with it.
func unescape(b []byte) (raw []byte, n int, err error) {
	raw = []byte{}
	for i := 0; i < len(b); i++ {
		if b[i] == 0 {
			if i+1 == len(b) || b[i+1] != escape {
				return raw, i + 1, nil
			}
			i++
			raw = append(raw, 0)
			continue
		}
		raw = append(raw, b[i])
	}
	return nil, 0, errTruncated
}

func decodeInt(b []byte) (element any, n int, err error) {
	size, negative := int(b[0])-codeIntZero, false
	if size < 0 {
		size, negative = -size, true
	}
	if len(b) < 1+size {
		return nil, 0, errTruncated
	}
	var m uint64
	for _, c := range b[1 : 1+size] {
		if negative {
			c = ^c
		}
		m = m<<8 | uint64(c)
	}
	switch {
	case (bits.Len64(m)+7)/8 != size:
		return nil, 0, errors.New("integer is longer than it needs to be")
	case negative && m > 1<<63, !negative && m > math.MaxInt64:
		return nil, 0, errors.New("integer does not fit 64 bits")
	case negative:
		return int64(-m), 1 + size, nil //nolint:gosec // within the range, see above
	default:
		return int64(m), 1 + size, nil
	}
}
