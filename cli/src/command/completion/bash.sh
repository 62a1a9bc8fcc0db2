# bash completion for @PROGRAM@; the candidates come from @PROGRAM@ itself.
_@PROGRAM@_complete() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            ":files "*)
                compopt -o filenames
                mapfile -t COMPREPLY < <(compgen -f -- "${line#* }")
                ;;
            ":directories "*)
                compopt -o filenames
                mapfile -t COMPREPLY < <(compgen -d -- "${line#* }")
                ;;
            *) COMPREPLY+=("$line") ;;
        esac
    done < <(@PROGRAM@ __complete_bash -- "${COMP_LINE:0:COMP_POINT}" "${COMP_WORDS[COMP_CWORD]}" 2>/dev/null)
}
complete -F _@PROGRAM@_complete @PROGRAM@
