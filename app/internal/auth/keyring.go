package auth

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

const (
	minKeyBytes    = 32 // as long as HS256's output (RFC 7518, 3.2)
	maxKeys        = 16
	maxKeyringFile = 64 << 10
)

// Keyring holds the keys of access tokens: the first signs, every one
// verifies, so that keys rotate without a break. It never changes.
type Keyring struct {
	signs    *key
	all      []*key          // in the order of the file
	verifies map[string]*key // the same by kid
	methods  []string
}

// key is pinned to one algorithm: a token that names another is refused
// whatever its signature (RFC 8725, 3.1).
type key struct {
	id       string
	method   jwt.SigningMethod
	sign     any // nil where only the public half is there
	verifies any
	secret   []byte // what other secrets are derived from; nil likewise
}

// ParseKeyring reads one base64 key a line, in the standard or the URL
// alphabet, padded or not, which signs by HS256; and PEM blocks between the
// lines: PRIVATE KEY (PKCS #8) of Ed25519, which signs by EdDSA, or of P-256,
// which signs by ES256, and PUBLIC KEY of either, which only verifies. Blank
// lines and lines that begin with # are skipped. It reports every fault
// together, by line, and no key's content.
func ParseKeyring(data []byte) (*Keyring, error) {
	ring := &Keyring{verifies: map[string]*key{}}
	var faults []error
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parse, begin := parseSecret, n
		if strings.HasPrefix(line, pemBegin) {
			parse = parsePEM
			for !strings.HasPrefix(line[strings.LastIndexByte(line, '\n')+1:], pemEnd) && lines.Scan() {
				line += "\n" + strings.TrimSpace(lines.Text())
				n++
			}
		}
		k, err := parse(line)
		if err == nil {
			err = ring.add(k)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", begin, err))
		}
	}
	if err := lines.Err(); err != nil {
		faults = append(faults, err)
	}
	if len(faults) == 0 && ring.signs == nil {
		faults = append(faults, errors.New("no key; make one with: openssl rand -base64 32"))
	}
	if len(ring.verifies) > maxKeys {
		faults = append(faults, fmt.Errorf("%d keys; at most %d", len(ring.verifies), maxKeys))
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("reading signing keys: %w", errors.Join(faults...))
	}
	return ring, nil
}

func (r *Keyring) add(k *key) error {
	if _, twice := r.verifies[k.id]; twice {
		return errors.New("the same key as on a line before")
	}
	if len(r.all) == 0 {
		if k.sign == nil {
			return errors.New("the first key signs, and this is only the public half of one")
		}
		r.signs = k
	}
	r.all = append(r.all, k)
	r.verifies[k.id] = k
	if alg := k.method.Alg(); !slices.Contains(r.methods, alg) {
		r.methods = append(r.methods, alg)
	}
	return nil
}

func parseSecret(line string) (*key, error) {
	alphabet := base64.RawStdEncoding
	if strings.ContainsAny(line, "-_") {
		alphabet = base64.RawURLEncoding
	}
	secret, err := alphabet.Strict().DecodeString(strings.TrimRight(line, "="))
	switch {
	case err != nil:
		return nil, errors.New("not base64")
	case len(secret) < minKeyBytes:
		return nil, fmt.Errorf("%d bytes; at least %d", len(secret), minKeyBytes)
	case len(slices.Compact(slices.Sorted(slices.Values(secret)))) < minKeyBytes/4:
		return nil, errors.New("too few different bytes to be random")
	}
	return &key{id: keyID(secret), method: jwt.SigningMethodHS256, sign: secret, verifies: secret, secret: secret}, nil
}

// keyID names a key without telling anything of it.
func keyID(secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("coditect key id"))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// LoadKeyring parses the file at path.
func LoadKeyring(path string) (*Keyring, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading signing keys: %w", err)
	}
	if info.Size() > maxKeyringFile {
		return nil, fmt.Errorf("reading signing keys: %s has %d bytes; at most %d", path, info.Size(), maxKeyringFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading signing keys: %w", err)
	}
	ring, err := ParseKeyring(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ring, nil
}
