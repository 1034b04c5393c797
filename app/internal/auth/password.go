package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/ccojocar/zxcvbn-go/data"
	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

// PasswordParams are Argon2id's. The zero value is OWASP's advice: 19456 KiB,
// 2 iterations, 1 lane.
type PasswordParams struct {
	MemoryKiB   uint32
	Iterations  uint32
	Parallelism uint8
}

// Bounds of parameters, for the configuration and for stored hashes: what a
// hash costs must not be whatever a damaged record says.
const (
	maxMemoryKiB   = 256 << 10
	maxIterations  = 32
	maxParallelism = 16
	saltBytes      = 16
	hashBytes      = 32
	maxHashPart    = 64
)

func (p PasswordParams) validate() error {
	if p.MemoryKiB < 8*uint32(p.Parallelism) || p.MemoryKiB > maxMemoryKiB ||
		p.Iterations < 1 || p.Iterations > maxIterations || p.Parallelism < 1 || p.Parallelism > maxParallelism {
		return fmt.Errorf("argon2id takes 8 KiB a lane to %d KiB, 1 to %d iterations and 1 to %d lanes; here they are %+v",
			maxMemoryKiB, maxIterations, maxParallelism, p)
	}
	return nil
}

// Hash hashes a password as accounts keep it, a PHC string. It takes its full time and memory.
func (p PasswordParams) Hash(password string) string {
	return p.hash(normalPassword(password)).String()
}

// risenFrom reports whether p asks for more than old in any way.
func (p PasswordParams) risenFrom(old PasswordParams) bool {
	return p.MemoryKiB > old.MemoryKiB || p.Iterations > old.Iterations || p.Parallelism > old.Parallelism
}

// phc is a hash in the PHC string format.
type phc struct {
	params     PasswordParams
	salt, hash []byte
}

// hash hashes a password. It takes its full time and memory: call it in the gate.
func (p PasswordParams) hash(password string) phc {
	h := phc{params: p, salt: random(saltBytes)}
	h.hash = h.derive(password, hashBytes)
	return h
}

// unmatchable returns a hash that costs what others do and no password has.
func (p PasswordParams) unmatchable() phc {
	return phc{params: p, salt: random(saltBytes), hash: random(hashBytes)}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// matches reports whether h is of the password. It too is for the gate.
func (h phc) matches(password string) bool {
	return subtle.ConstantTimeCompare(h.hash, h.derive(password, uint32(len(h.hash)))) == 1 //nolint:gosec // at most maxHashPart
}

func (h phc) derive(password string, size uint32) []byte {
	return argon2.IDKey([]byte(normalPassword(password)), h.salt,
		h.params.Iterations, h.params.MemoryKiB, h.params.Parallelism, size)
}

func (h phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		h.params.MemoryKiB, h.params.Iterations, h.params.Parallelism,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.hash))
}

var errPHC = errors.New("not an argon2id hash in the PHC string format")

// parsePHC accepts exactly what String writes, within the bounds above.
func parsePHC(s string) (phc, error) {
	fields := strings.Split(s, "$")
	if len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" || fields[2] != "v="+strconv.Itoa(argon2.Version) {
		return phc{}, errPHC
	}
	params := strings.Split(fields[3], ",")
	if len(params) != 3 {
		return phc{}, errPHC
	}
	var n [3]uint32
	for i, name := range []string{"m=", "t=", "p="} {
		digits, named := strings.CutPrefix(params[i], name)
		v, err := strconv.ParseUint(digits, 10, 24)
		if !named || err != nil || strconv.FormatUint(v, 10) != digits {
			return phc{}, errPHC
		}
		n[i] = uint32(v)
	}
	if n[2] > maxParallelism {
		return phc{}, errPHC
	}
	h := phc{params: PasswordParams{MemoryKiB: n[0], Iterations: n[1], Parallelism: uint8(n[2])}} //nolint:gosec // bounded just above
	if err := h.params.validate(); err != nil {
		return phc{}, fmt.Errorf("%w: %w", errPHC, err)
	}
	var err error
	if h.salt, err = hashPart(fields[4], 8); err != nil {
		return phc{}, err
	}
	if h.hash, err = hashPart(fields[5], saltBytes); err != nil {
		return phc{}, err
	}
	return h, nil
}

func hashPart(text string, atLeast int) ([]byte, error) {
	if len(text) > base64.RawStdEncoding.EncodedLen(maxHashPart) || strings.ContainsAny(text, "\r\n") {
		return nil, errPHC
	}
	b, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < atLeast {
		return nil, errPHC
	}
	return b, nil
}

// Lengths of passwords, in Unicode code points of the normal form.
const (
	minPassword      = 8
	maxPassword      = 128
	maxPasswordBytes = 16 * maxPassword // of what is normalized at all
)

// normalPassword is what is hashed: composed, since keyboards differ in how
// they write é, and otherwise as it was typed.
func normalPassword(password string) string { return norm.NFC.String(password) }

// passwordProblem says what is wrong with a new password, or "".
func passwordProblem(password string) string {
	if len(password) > maxPasswordBytes || !utf8.ValidString(password) {
		return "must be 8 to 128 characters"
	}
	password = normalPassword(password)
	switch n := utf8.RuneCountInString(password); {
	case n < minPassword || n > maxPassword:
		return "must be 8 to 128 characters"
	case isCommon(password):
		return "is among the first that are guessed; choose another"
	}
	return ""
}

// commonPasswords holds the commonest passwords in lower case, from the list
// that zxcvbn ranks by. It is unpacked when a first password is chosen.
var commonPasswords = sync.OnceValue(func() map[string]struct{} {
	packed, err := data.Asset("data/Passwords.json")
	var ranked struct {
		List []string `json:"List"`
	}
	if err == nil {
		err = json.Unmarshal(packed, &ranked)
	}
	if err != nil || len(ranked.List) == 0 {
		panic(fmt.Sprintf("auth: the embedded list of passwords is damaged: %v", err)) // a test holds that it is not
	}
	common := make(map[string]struct{}, len(ranked.List))
	for _, p := range ranked.List {
		common[p] = struct{}{}
	}
	return common
})

// unleet undoes the replacements that every guesser tries.
var unleet = strings.NewReplacer("@", "a", "4", "a", "3", "e", "1", "i", "!", "i", "0", "o", "$", "s", "5", "s", "7", "t")

// maxSuffix is how many digits and marks after a common word do not help it: a year and a mark.
const maxSuffix = 5

// isCommon reports whether a guesser's first tries include the password: a
// common one in any case, with the usual replacements, with a short tail of
// digits and marks, or one character over and over.
func isCommon(password string) bool {
	p := strings.ToLower(password)
	if strings.Trim(p, string([]rune(p)[:1])) == "" {
		return true
	}
	word := strings.TrimRightFunc(p, func(r rune) bool { return !unicode.IsLetter(r) })
	if len(p)-len(word) > maxSuffix || word == "" {
		word = p
	}
	common := commonPasswords()
	for _, try := range []string{p, unleet.Replace(p), word, unleet.Replace(word)} {
		if _, found := common[try]; found {
			return true
		}
	}
	return false
}
