package factor

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
)

const (
	sealKeyBytes = 32
	sealIDBytes  = 8
)

// Sealer encrypts what is kept of authenticator apps, so that a copy of the
// database alone makes nobody's codes. The first of its keys seals, every one
// opens, and what is sealed names its key: keys rotate.
type Sealer struct {
	first [sealIDBytes]byte
	keys  map[[sealIDBytes]byte]cipher.AEAD
}

// NewSealer derives its keys from secrets, of 32 random bytes or more each.
func NewSealer(secrets [][]byte) (*Sealer, error) {
	if len(secrets) == 0 {
		return nil, errors.New("no secret to derive a sealing key from")
	}
	s := &Sealer{keys: make(map[[sealIDBytes]byte]cipher.AEAD)}
	for i, secret := range secrets {
		key, err := hkdf.Key(sha256.New, secret, nil, "coditect second factors: key", sealKeyBytes)
		if err != nil {
			return nil, fmt.Errorf("deriving a sealing key: %w", err)
		}
		name, err := hkdf.Key(sha256.New, secret, nil, "coditect second factors: key id", sealIDBytes)
		if err != nil {
			return nil, fmt.Errorf("naming a sealing key: %w", err)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("making a cipher: %w", err)
		}
		id := [sealIDBytes]byte(name)
		if s.keys[id], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, fmt.Errorf("making a cipher: %w", err)
		}
		if i == 0 {
			s.first = id
		}
	}
	return s, nil
}

// Seal encrypts secret for one place: it opens only with the same place.
func (s *Sealer) Seal(secret, place []byte) []byte {
	return s.keys[s.first].Seal(s.first[:], nil, secret, place) //nolint:gosec // the cipher makes its own nonce
}

// Open decrypts what Seal made.
func (s *Sealer) Open(sealed, place []byte) ([]byte, error) {
	if len(sealed) < sealIDBytes {
		return nil, errors.New("opening a sealed secret: too short")
	}
	id := [sealIDBytes]byte(sealed)
	key, known := s.keys[id]
	if !known {
		return nil, fmt.Errorf("opening a sealed secret: its key %x is not among the service's", id)
	}
	secret, err := key.Open(nil, nil, sealed[sealIDBytes:], place)
	if err != nil {
		return nil, fmt.Errorf("opening a sealed secret: %w", err)
	}
	return secret, nil
}

// Current reports whether the key that seals today sealed it.
func (s *Sealer) Current(sealed []byte) bool {
	return len(sealed) >= sealIDBytes && [sealIDBytes]byte(sealed) == s.first
}
