#!/bin/sh
# Install Chromium if it is absent and a package manager is at hand; say so if neither helps.

for name in chromium chromium-browser google-chrome google-chrome-stable; do
  command -v "$name" >/dev/null 2>&1 && exit 0
done
[ -x "/Applications/Chromium.app/Contents/MacOS/Chromium" ] && exit 0
[ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ] && exit 0

as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -n"

if command -v apt-get >/dev/null 2>&1; then
  $as_root apt-get update -qq && $as_root apt-get install -qq -y chromium && exit 0
elif command -v dnf >/dev/null 2>&1; then
  $as_root dnf install -q -y chromium && exit 0
elif command -v brew >/dev/null 2>&1; then
  brew install --cask chromium && exit 0
fi

echo "Chromium could not be installed: no package manager that has it (apt-get, dnf, brew), no right" \
  "to install, or no network. Install Chromium or Chrome and run this again; until then the tests" \
  "that need it are skipped."
