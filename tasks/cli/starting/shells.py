"""What makes a shell complete the words of ``scansuite``: it asks ``scansuite completion --words SHELL WORD ...``.

That prints a line for each candidate: the word, and behind a tab what it is; ``<files>`` stands for what the shell
finds itself.
"""

from __future__ import annotations

BASH = """\
_scansuite() {
    # bash cuts a word at "=": what is completed is behind it.
    local line current="${COMP_WORDS[COMP_CWORD]}" program="${COMP_WORDS[0]/#\\~/$HOME}"
    [[ $current == = ]] && current=
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == "<files>" ]]; then
            compopt -o filenames 2>/dev/null
            while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$current")
        else
            COMPREPLY+=("${line%%$'\\t'*}")
        fi
    done < <("$program" completion --words bash "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o nosort -F _scansuite scansuite 2>/dev/null || complete -F _scansuite scansuite
"""

ZSH = """\
#compdef scansuite
_scansuite() {
    local line files=
    local -a found
    for line in "${(@f)$("${words[1]/#\\~/$HOME}" completion --words zsh "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        case $line in
            '') ;;
            '<files>') files=yes ;;
            *$'\\t'*) found+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}") ;;
            *) found+=("${line//:/\\\\:}") ;;
        esac
    done
    (( $#found )) && _describe -V 'scansuite' found
    [[ -n $files ]] && { compset -P '*='; _files }
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _scansuite "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _scansuite scansuite
fi
"""

FISH = """\
function __scansuite_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] completion --words fish $words[2..-1] "$current" 2>/dev/null)
        if test "$line" = '<files>'
            set -l flag (string match -r '^--[^=]*=' -- "$current")
            for path in (__fish_complete_path (string replace -r '^--[^=]*=' '' -- "$current"))
                echo "$flag$path"
            end
        else
            echo $line
        end
    end
end
complete -c scansuite -f -a '(__scansuite_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def joined(words: list[str]) -> list[str]:
    """Words in which what bash cuts at ``=`` is one word again."""
    found: list[str] = []
    for word in words:
        behind = bool(found) and found[-1].startswith("--") and found[-1].endswith("=")
        if (word == "=" and found) or behind:
            found[-1] += word
        else:
            found.append(word)
    return found
