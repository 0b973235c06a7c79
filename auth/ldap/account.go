package ldap

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

const maxAccountFile = 64 << 10 // bytes

// Account is the one that looks for entries; without a name nobody in particular does.
type Account struct{ DN, Password string }

// check fails for a name without a password: servers let that in as nobody (RFC 4513, 5.1.2), and find nothing then.
func (a Account) check() error {
	switch {
	case a.DN == "" && a.Password != "":
		return errors.New("there is a bindPassword and no bindDN")
	case a.DN != "" && a.Password == "":
		return errors.New("there is a bindDN and no bindPassword")
	}
	return nil
}

// ReadAccount reads a file {"bindDN": "...", "bindPassword": "..."}. What it fails with has no password in it.
func ReadAccount(path string) (Account, error) {
	var keys struct{ BindDN, BindPassword string }
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxAccountFile {
		err = fmt.Errorf("%s has %d bytes, more than %d", path, info.Size(), maxAccountFile)
	}
	if err != nil {
		return Account{}, err
	}
	content, err := os.ReadFile(path) //nolint:gosec // the operator says which file it is
	if err != nil {
		return Account{}, err
	}
	if json.Unmarshal(content, &keys) != nil { // whose error may quote the content
		return Account{}, fmt.Errorf(`%s is not {"bindDN": "...", "bindPassword": "..."}`, path)
	}
	a := Account{DN: keys.BindDN, Password: keys.BindPassword}
	if err := a.check(); err != nil {
		return Account{}, fmt.Errorf("%s: %w", path, err)
	}
	if a.DN == "" {
		return Account{}, fmt.Errorf("%s: has no bindDN and no bindPassword", path)
	}
	return a, nil
}
