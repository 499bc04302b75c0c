_dvdcli_completion() {
    mapfile -t COMPREPLY < <(
        COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORD="$2" _DVDCLI_COMPLETE=bash_complete \
            "${1/#\~\//$HOME/}" 2>/dev/null
    )
}

complete -o nosort -F _dvdcli_completion dvdcli
