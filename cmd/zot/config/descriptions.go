package config

func description(path string) string { return "" }
