// Package factortest owns what tests of second factors need on the other side:
// an authenticator in software, with a browser around it that does as it is
// told, for good and for ill.
package factortest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// Authenticator holds passkeys and answers ceremonies. Its members may be
// changed between them.
type Authenticator struct {
	Origin    string // of the page that it is asked from
	Verifies  bool   // its user, by a PIN or a finger
	Counts    bool   // its signatures
	Backed    bool   // its passkeys can be backed up, and are
	Challenge string // instead of the one in the options, unless it is ""
	Passkeys  []*Passkey
}

// Passkey is one key pair.
type Passkey struct {
	ID     []byte
	Domain string
	User   []byte // handle; nil in an answer where the passkey does not know it
	Count  uint32
	key    *ecdsa.PrivateKey
}

// New returns an authenticator that verifies its user and counts.
func New(origin string) *Authenticator {
	return &Authenticator{Origin: origin, Verifies: true, Counts: true}
}

// Flags of authenticator data (WebAuthn, 6.1).
const (
	flagPresent  = 1 << 0
	flagVerified = 1 << 2
	flagEligible = 1 << 3
	flagBacked   = 1 << 4
	flagKey      = 1 << 6
)

func (a *Authenticator) data(domain string, count uint32, extra byte) []byte {
	flags := byte(flagPresent) | extra
	if a.Verifies {
		flags |= flagVerified
	}
	if a.Backed {
		flags |= flagEligible | flagBacked
	}
	hash := sha256.Sum256([]byte(domain))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), count)
}

func (a *Authenticator) client(kind, challenge string) []byte {
	if a.Challenge != "" {
		challenge = a.Challenge
	}
	return marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.Origin, "crossOrigin": false})
}

// Create answers navigator.credentials.create with a new passkey.
func (a *Authenticator) Create(tb testing.TB, options []byte) []byte {
	tb.Helper()
	var o struct {
		Challenge string              `json:"challenge"`
		RP        struct{ ID string } `json:"rp"`
		User      struct{ ID string } `json:"user"`
	}
	decode(tb, options, &o)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	user, err := base64.RawURLEncoding.DecodeString(o.User.ID)
	if err != nil {
		tb.Fatal(err)
	}
	p := &Passkey{ID: make([]byte, 16), Domain: o.RP.ID, User: user, key: key}
	_, _ = rand.Read(p.ID)
	a.Passkeys = append(a.Passkeys, p)
	return a.Attest(tb, p, o.Challenge)
}

// Attest answers a registration with a passkey that is there already.
func (a *Authenticator) Attest(tb testing.TB, p *Passkey, challenge string) []byte {
	tb.Helper()
	point, err := p.key.PublicKey.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	x, y := point[1:33], point[33:]
	public, err := cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: x, -3: y}) // COSE: EC2, ES256, P-256
	if err != nil {
		tb.Fatal(err)
	}
	data := a.data(p.Domain, p.Count, flagKey)
	data = append(data, make([]byte, 16)...)                      // AAGUID
	data = binary.BigEndian.AppendUint16(data, uint16(len(p.ID))) //nolint:gosec // small
	data = append(append(data, p.ID...), public...)
	object, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	if err != nil {
		tb.Fatal(err)
	}
	return answer(p, map[string]any{
		"clientDataJSON": b64(a.client("webauthn.create", challenge)), "attestationObject": b64(object), "transports": []string{"internal"},
	})
}

// Get answers navigator.credentials.get with p.
func (a *Authenticator) Get(tb testing.TB, options []byte, p *Passkey) []byte {
	tb.Helper()
	var o struct {
		Challenge string `json:"challenge"`
	}
	decode(tb, options, &o)
	if a.Counts {
		p.Count++
	}
	data, client := a.data(p.Domain, p.Count, 0), a.client("webauthn.get", o.Challenge)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(bytes.Clone(data), hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, p.key, digest[:])
	if err != nil {
		tb.Fatal(err)
	}
	response := map[string]any{"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature)}
	if p.User != nil {
		response["userHandle"] = b64(p.User)
	}
	return answer(p, response)
}

func answer(p *Passkey, response map[string]any) []byte {
	return marshal(map[string]any{
		"id": b64(p.ID), "rawId": b64(p.ID), "type": "public-key", "response": response, "clientExtensionResults": map[string]any{},
	})
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func marshal(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of text
	}
	return body
}

func decode(tb testing.TB, body []byte, v any) {
	tb.Helper()
	if err := json.Unmarshal(body, v); err != nil {
		tb.Fatal(err)
	}
}
