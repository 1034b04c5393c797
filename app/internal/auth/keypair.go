package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

const (
	pemBegin   = "-----BEGIN "
	pemEnd     = "-----END "
	pemPrivate = "PRIVATE KEY"
	pemPublic  = "PUBLIC KEY"
)

// parsePEM reads a key pair, or the public half of one.
func parsePEM(text string) (*key, error) {
	block, rest := pem.Decode([]byte(text + "\n"))
	if block == nil || len(rest) > 0 {
		return nil, errors.New("not a PEM block")
	}
	var private, public any
	var err error
	switch block.Type {
	case pemPrivate:
		if private, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
			return nil, errors.New("not a PKCS #8 private key")
		}
		pair, ok := private.(interface{ Public() crypto.PublicKey })
		if !ok {
			return nil, errKeyType
		}
		public = pair.Public()
	case pemPublic:
		if public, err = x509.ParsePKIXPublicKey(block.Bytes); err != nil {
			return nil, errors.New("not a PKIX public key")
		}
	default:
		return nil, errors.New("a PEM block must be PRIVATE KEY (PKCS #8) or PUBLIC KEY")
	}
	k := &key{sign: private, verifies: public}
	if private != nil {
		k.secret = block.Bytes
	}
	switch p := public.(type) {
	case ed25519.PublicKey:
		k.method = jwt.SigningMethodEdDSA
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			return nil, errKeyType
		}
		k.method = jwt.SigningMethodES256
	default:
		return nil, errKeyType
	}
	k.id, err = k.thumbprint()
	return k, err
}

var errKeyType = errors.New("a key pair must be of Ed25519 or P-256")

// JWK is a public key (RFC 7517).
type JWK struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y,omitempty"`
	ID        string `json:"kid"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
}

func (k *key) jwk() (JWK, error) {
	j := JWK{ID: k.id, Use: "sig", Algorithm: k.method.Alg()}
	switch p := k.verifies.(type) {
	case ed25519.PublicKey:
		j.Type, j.Curve, j.X = "OKP", "Ed25519", base64.RawURLEncoding.EncodeToString(p)
	case *ecdsa.PublicKey:
		point, err := p.Bytes() // 4, X, Y
		if err != nil {
			return JWK{}, fmt.Errorf("encoding a public key: %w", err)
		}
		half := len(point) / 2
		j.Type, j.Curve = "EC", "P-256"
		j.X = base64.RawURLEncoding.EncodeToString(point[1 : 1+half])
		j.Y = base64.RawURLEncoding.EncodeToString(point[1+half:])
	}
	return j, nil
}

// thumbprint names a public key as RFC 7638 does.
func (k *key) thumbprint() (string, error) {
	j, err := k.jwk()
	if err != nil {
		return "", err
	}
	members := map[string]string{"kty": j.Type, "crv": j.Curve, "x": j.X} // a map is encoded in order of its names
	if j.Y != "" {
		members["y"] = j.Y
	}
	text, err := json.Marshal(members)
	if err != nil {
		return "", fmt.Errorf("naming a public key: %w", err)
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// Public returns the public keys that verify, in the order of the file: none
// where every key is a shared secret.
func (r *Keyring) Public() ([]JWK, error) {
	public := []JWK{}
	for _, k := range r.all {
		if k.method == jwt.SigningMethodHS256 {
			continue
		}
		j, err := k.jwk()
		if err != nil {
			return nil, err
		}
		public = append(public, j)
	}
	return public, nil
}

// PublicKeys returns the keys that verify the service's tokens.
func (s *Service) PublicKeys() ([]JWK, error) { return s.keys.Public() }

// Secret is a secret for one use, derived from a key of the ring.
type Secret struct {
	ID    string // of the key
	Value []byte // 32 bytes
}

// Secrets derives a secret for the named use from each key that is whole, in
// the order of the file: the first is for new work, the others are for what was
// made before the keys were rotated. Who knows one learns nothing of the key,
// nor of another use's.
func (r *Keyring) Secrets(use string) []Secret {
	var secrets []Secret
	for _, k := range r.all {
		if k.secret != nil {
			mac := hmac.New(sha256.New, k.secret)
			mac.Write([]byte("coditect secret for " + use))
			secrets = append(secrets, Secret{ID: k.id, Value: mac.Sum(nil)})
		}
	}
	return secrets
}

// GenerateKey makes a random key, as a line of the file.
func GenerateKey() string {
	return base64.StdEncoding.EncodeToString(random(minKeyBytes))
}

// GenerateKeyPair makes a random key pair for an algorithm, EdDSA or ES256, as
// a PEM block of the file.
func GenerateKeyPair(algorithm string) (string, error) {
	var private any
	var err error
	switch algorithm {
	case jwt.SigningMethodEdDSA.Alg():
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case jwt.SigningMethodES256.Alg():
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		return "", fmt.Errorf("no key pairs for %q; EdDSA and ES256 have them", algorithm)
	}
	if err != nil {
		return "", fmt.Errorf("making a key pair: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", fmt.Errorf("encoding a key pair: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: der})), nil
}
