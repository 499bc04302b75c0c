function _dvdcli_completion
    set -l words (commandline -opc)
    set -l current (commandline -ct | string unescape)
    test -n "$current"; or set current (commandline -ct | string trim --left --chars "'\"")
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -lx COMP_LINE (string join \n -- $words "$current" | string collect -N)
    set -lx _DVDCLI_COMPLETE fish_complete
    $program 2>/dev/null
end

complete --command dvdcli --no-files --keep-order --arguments "(_dvdcli_completion)"
