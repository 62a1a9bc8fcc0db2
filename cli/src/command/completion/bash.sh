# bash completion for @PROGRAM@; the candidates come from @PROGRAM@ itself.
_@PROGRAM@_complete() {
    local line=${COMP_LINE:0:COMP_POINT} whole prefix
    local -a words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    whole=${words[-1]}
    # Where a word holds = or :, bash replaces only what stands behind it.
    case ${COMP_WORDS[COMP_CWORD]} in
        = | :) prefix=$whole ;;
        *) prefix=${whole%"${COMP_WORDS[COMP_CWORD]}"} ;;
    esac
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :files)
                compopt -o filenames
                mapfile -t COMPREPLY < <(compgen -f -- "${whole#--*=}")
                ;;
            :directories)
                compopt -o filenames
                mapfile -t COMPREPLY < <(compgen -d -- "${whole#--*=}")
                ;;
            :none) ;;
            *)
                line=${line%%$'\t'*}
                COMPREPLY+=("$(printf %q "${line#"$prefix"}")")
                ;;
        esac
    done < <(@PROGRAM@ __complete -- "${words[@]:1}" 2>/dev/null)
}
complete -F _@PROGRAM@_complete @PROGRAM@
