package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"coditect.ai/platform/app/contract"
)

// factorSettings are the rows of second factors.
func factorSettings() []Setting {
	return []Setting{
		{
			contract.EnvPasskeyDomain, "domain", "localhost", "Domain that passkeys belong to, for good: a passkey of one domain is none of another.",
			passkeyDomain,
		},
		{
			contract.EnvPasskeyOrigins, "origins, comma-separated", "http://localhost:8080", "Origins of the pages that may use passkeys: the domain's own or below it, by https unless it is localhost.",
			func(c *Config, v string) (err error) {
				c.PasskeyOrigins, err = origins(v)
				if err == nil && len(c.PasskeyOrigins) == 0 {
					err = errors.New("must not be empty")
				}
				return err
			},
		},
		{
			contract.EnvFactorKeyFile, "path", "", "File of keys, as " + contract.EnvJWTSecretFile + " has, that seal the secrets of authenticator apps: the first seals, every one opens. Empty: the keys of that file.",
			text(func(c *Config) *string { return &c.FactorKeyFile }),
		},
	}
}

func passkeyDomain(c *Config, v string) error {
	if v == "" || v != strings.ToLower(v) || strings.ContainsAny(v, ":/@ ") || strings.HasPrefix(v, ".") || strings.HasSuffix(v, ".") {
		return errors.New("must be a domain in lower case, such as coditect.ai: no scheme, no port")
	}
	c.PasskeyDomain = v
	return nil
}

// checkPasskeys returns what browsers would refuse: origins beside the domain,
// and those without TLS.
func checkPasskeys(c Config) []error {
	var faults []error
	for _, o := range c.PasskeyOrigins {
		u, err := url.Parse(o)
		if err != nil {
			continue // which the setting itself has refused
		}
		host := u.Hostname()
		switch {
		case host != c.PasskeyDomain && !strings.HasSuffix(host, "."+c.PasskeyDomain):
			faults = append(faults, fmt.Errorf("%s: %s is not of the domain %s (%s)", contract.EnvPasskeyOrigins, o, c.PasskeyDomain, contract.EnvPasskeyDomain))
		case u.Scheme != "https" && host != "localhost" && !strings.HasSuffix(host, ".localhost"):
			faults = append(faults, fmt.Errorf("%s: %s is not https, and browsers have passkeys on no other origins but localhost", contract.EnvPasskeyOrigins, o))
		}
	}
	return faults
}
