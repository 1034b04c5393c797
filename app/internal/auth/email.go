package auth

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Lengths in bytes (RFC 5321, 4.5.3.1).
const (
	maxEmail     = 254
	maxEmailName = 64
)

// domains maps, checks and bounds a domain as resolvers do.
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// NormalEmail returns the form in which addresses are kept and compared, or
// says what is wrong with one.
func NormalEmail(address string) (string, error) { return normalEmail(address) }

var errEmail = errors.New("must be an email address, such as ada@example.com")

// normalEmail returns the form in which addresses are kept and compared:
// trimmed, lower-cased, NFC, the domain in Unicode however it was written. It
// accepts name@domain where the name is dot-separated words of letters, digits
// and RFC 5322's marks, and the domain has two labels or more: what public mail
// is delivered to, without quotes, comments and address literals.
func normalEmail(s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return "", errors.New("is required")
	}
	if len(s) > maxEmail {
		return "", errors.New("must be at most 254 bytes")
	}
	name, domain, found := strings.Cut(s, "@")
	if !found || !utf8.ValidString(s) {
		return "", errEmail
	}
	name = norm.NFC.String(strings.ToLower(norm.NFC.String(name)))
	if len(name) > maxEmailName {
		return "", errEmail
	}
	for word := range strings.SplitSeq(name, ".") {
		if word == "" || strings.ContainsFunc(word, notInWord) {
			return "", errEmail
		}
	}
	domain, err := normalDomain(domain)
	if err != nil {
		return "", err
	}
	if email := name + "@" + domain; len(email) <= maxEmail {
		return email, nil
	}
	return "", errEmail
}

func notInWord(r rune) bool {
	if r < utf8.RuneSelf {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	}
	return !unicode.In(r, unicode.L, unicode.M, unicode.N)
}

func normalDomain(domain string) (string, error) {
	ascii, err := domains.ToASCII(domain)
	if err != nil || strings.HasSuffix(ascii, ".") {
		return "", errEmail
	}
	top := ascii[strings.LastIndexByte(ascii, '.')+1:]
	if len(top) == len(ascii) || strings.Trim(top, "0123456789") == "" {
		return "", errEmail
	}
	unicoded, err := domains.ToUnicode(ascii)
	if err != nil {
		return "", errEmail
	}
	return unicoded, nil
}
