package openid

import (
	"encoding/json"
	"fmt"
)

// ReadCredentials reads a file {"clientid": "...", "clientsecret": "..."}. What it fails with has no secret in it.
func ReadCredentials(path string) (id, secret string, err error) {
	content, err := readFile(path)
	if err != nil {
		return "", "", err
	}
	var keys struct{ ClientID, ClientSecret string }
	if json.Unmarshal(content, &keys) != nil || keys.ClientID == "" { // whose error may quote the content
		return "", "", fmt.Errorf(`%s is not {"clientid": "...", "clientsecret": "..."}`, path)
	}
	return keys.ClientID, keys.ClientSecret, nil
}
