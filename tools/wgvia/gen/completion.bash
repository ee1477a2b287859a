# bash completion for wgvia

_wgvia_devices()
{
	ip -br link show type wireguard 2>/dev/null | cut -d' ' -f1
}

# _wgvia_values KEYWORD: the values of a keyword
_wgvia_values()
{
	case $1 in
@VALUES@
	esac
}

# _wgvia_keywords WORD...: the keywords of a command that come after these words
_wgvia_keywords()
{
	case $*" " in
@KEYWORDS@
	esac
}

_wgvia()
{
	local cur=${COMP_WORDS[COMP_CWORD]} words=() word candidates keyword

	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		[[ $word == -* ]] || words+=("$word")
	done
	if [[ $cur == -* ]]; then
		candidates="@OPTIONS@"
	else
		case ${#words[@]},${words[*]} in
		0,*) candidates="@COMMANDS@" ;;
		1,*) candidates=$(_wgvia_devices) ;;
		*,set*)
			for keyword in $(_wgvia_keywords "${words[@]}"); do
				if [[ $keyword == "${words[-1]}" ]]; then
					candidates=$(_wgvia_values "$keyword")
					break
				fi
				[[ " ${words[*]} " == *" $keyword "* ]] || candidates+=" $keyword"
			done
			;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$candidates" -- "$cur")
}

complete -F _wgvia wgvia
